// Are the faces of two aligned crops one person's? Needs onnxruntime alone; README.md says how to build and run it.

#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <iterator>
#include <limits>
#include <regex>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

// What `facedistill export` writes into the metadata of a file: see facedistill/preprocessing.py.
struct Preprocessing {
    std::int64_t size;  // height and width in pixels
    bool bgr;
    bool nhwc;
    float mean;
    float std;
};

// The value of a key in flat JSON, such as the metadata is; quotes are left out.
std::string value_of(const std::string& json, const std::string& key) {
    std::smatch found;
    if (!std::regex_search(json, found, std::regex("\"" + key + "\"\\s*:\\s*\"?([^\",}\\]]+)"))) {
        throw std::runtime_error("the model's metadata has no '" + key + "'");
    }
    return found[1];
}

std::string metadata(const Ort::Session& session, const char* key) {
    Ort::AllocatorWithDefaultOptions allocator;
    const auto text = session.GetModelMetadata().LookupCustomMetadataMapAllocated(key, allocator);
    if (!text) {
        throw std::runtime_error(std::string("the model carries no '") + key + "'");
    }
    return text.get();
}

Preprocessing read_preprocessing(const Ort::Session& session) {
    const std::string json = metadata(session, "facedistill.preprocessing");
    return {std::stoll(value_of(json, "size")), value_of(json, "color") == "bgr", value_of(json, "layout") == "nhwc",
            std::stof(value_of(json, "mean")), std::stof(value_of(json, "std"))};
}

// The strictest of the thresholds that `facedistill threshold --save` wrote.
double read_threshold(const Ort::Session& session) {
    const std::string json = metadata(session, "facedistill.thresholds");
    const std::regex wanted("\"cosine\"\\s*:\\s*([-+.0-9eE]+)");
    double strictest = -std::numeric_limits<double>::infinity();
    for (std::sregex_iterator each(json.begin(), json.end(), wanted), end; each != end; ++each) {
        strictest = std::max(strictest, std::stod((*each)[1]));
    }
    if (!std::isfinite(strictest)) {
        throw std::runtime_error("the model carries no threshold");
    }
    return strictest;
}

// A binary PPM (P6) of `size` x `size` pixels: rows from the top, red, green and blue of each pixel.
std::vector<std::uint8_t> read_crop(const char* path, std::int64_t size) {
    std::ifstream file(path, std::ios::binary);
    if (!file) {
        throw std::runtime_error(std::string(path) + ": cannot be read");
    }
    const auto next = [&file] {
        std::string word;
        while (file >> word && word[0] == '#') {
            file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
        }
        return word;
    };
    const std::array<std::string, 4> header{next(), next(), next(), next()};
    file.get();  // the one blank between header and pixels
    const std::string side = std::to_string(size);
    if (header != std::array<std::string, 4>{"P6", side, side, "255"}) {
        throw std::runtime_error(std::string(path) + ": not a binary PPM of " + side + " x " + side + " pixels");
    }
    std::vector<std::uint8_t> pixels(static_cast<std::size_t>(size * size * 3));
    if (!file.read(reinterpret_cast<char*>(pixels.data()), static_cast<std::streamsize>(pixels.size()))) {
        throw std::runtime_error(std::string(path) + ": the file ends early");
    }
    return pixels;
}

// Puts a crop of RGB pixels, and after it its mirror image, at the end of a batch of (size, size, 3).
void append(std::vector<std::uint8_t>& batch, const std::vector<std::uint8_t>& crop, std::int64_t size) {
    batch.insert(batch.end(), crop.begin(), crop.end());
    for (std::int64_t row = 0; row < size; ++row) {
        for (std::int64_t column = size - 1; column >= 0; --column) {
            const auto pixel = crop.begin() + (row * size + column) * 3;
            batch.insert(batch.end(), pixel, pixel + 3);
        }
    }
}

// (N, size, size, 3) RGB pixels -> the network's numbers: (x - mean) / std, in its order of colours and of axes.
std::vector<float> prepare(const std::vector<std::uint8_t>& batch, const Preprocessing& wanted) {
    const std::int64_t plane = wanted.size * wanted.size;
    std::vector<float> prepared(batch.size());
    for (std::int64_t at = 0; at < static_cast<std::int64_t>(batch.size()); ++at) {
        const std::int64_t image = at / (plane * 3), pixel = at / 3 % plane;
        const std::int64_t channel = wanted.bgr ? 2 - at % 3 : at % 3;
        const std::int64_t inside = wanted.nhwc ? pixel * 3 + channel : channel * plane + pixel;
        prepared[image * plane * 3 + inside] = (batch[at] - wanted.mean) / wanted.std;
    }
    return prepared;
}

// (4, D) embeddings of a crop, its mirror image, another crop and its mirror image.
std::vector<float> embed(Ort::Session& session, std::vector<std::uint8_t>& batch, const Preprocessing& wanted) {
    const std::int64_t size = wanted.size;
    const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    const auto type = session.GetInputTypeInfo(0);
    Ort::Value input{nullptr};
    std::vector<float> prepared;
    // A network that takes uint8 prepares RGB pixels by itself.
    if (type.GetTensorTypeAndShapeInfo().GetElementType() == ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8) {
        const std::array<std::int64_t, 4> shape{4, size, size, 3};
        input = Ort::Value::CreateTensor<std::uint8_t>(memory, batch.data(), batch.size(), shape.data(), shape.size());
    } else {
        const std::array<std::int64_t, 4> shape{4, wanted.nhwc ? size : 3, size, wanted.nhwc ? 3 : size};
        prepared = prepare(batch, wanted);
        input = Ort::Value::CreateTensor<float>(memory, prepared.data(), prepared.size(), shape.data(), shape.size());
    }
    const std::array<const char*, 1> input_names{"input"}, output_names{"embedding"};
    auto outputs = session.Run(Ort::RunOptions{nullptr}, input_names.data(), &input, 1, output_names.data(), 1);
    const float* numbers = outputs[0].GetTensorData<float>();
    return {numbers, numbers + outputs[0].GetTensorTypeAndShapeInfo().GetElementCount()};
}

// Of two faces: each is the embedding of its crop plus that of its mirror image.
double cosine_of(const std::vector<float>& embeddings) {
    const std::size_t length = embeddings.size() / 4;
    double product = 0, first_square = 0, second_square = 0;
    for (std::size_t at = 0; at < length; ++at) {
        const double first = double(embeddings[at]) + embeddings[length + at];
        const double second = double(embeddings[2 * length + at]) + embeddings[3 * length + at];
        product += first * second;
        first_square += first * first;
        second_square += second * second;
    }
    return product / std::sqrt(first_square * second_square);
}

}  // namespace

int main(int count, char** arguments) {
    if (count != 4) {
        std::cerr << "usage: verify_two_crops MODEL.onnx A.ppm B.ppm\n";
        return 2;
    }
    try {
        Ort::Env environment(ORT_LOGGING_LEVEL_ERROR, "verify_two_crops");
        Ort::Session session(environment, std::filesystem::path(arguments[1]).c_str(), Ort::SessionOptions{});
        const Preprocessing wanted = read_preprocessing(session);
        std::vector<std::uint8_t> batch;
        append(batch, read_crop(arguments[2], wanted.size), wanted.size);
        append(batch, read_crop(arguments[3], wanted.size), wanted.size);
        const double cosine = cosine_of(embed(session, batch, wanted)), threshold = read_threshold(session);
        std::cout << std::fixed << std::setprecision(6) << "cosine " << cosine << ", threshold " << threshold << ": "
                  << (cosine > threshold ? "one person" : "two people") << "\n";
    } catch (const std::exception& error) {
        std::cerr << error.what() << "\n";
        return 1;
    }
    return 0;
}
