// What examples/cpp uses of onnxruntime's C++ header, for machines where no package brings that header: the Python
// wheels hold the library alone. It calls the real library, through the table of functions that is its interface; new
// functions are only ever added at the table's end, so the places stay. Not for use outside the tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

enum OrtLoggingLevel { ORT_LOGGING_LEVEL_ERROR = 3 };
enum OrtAllocatorType { OrtArenaAllocator = 1 };
enum OrtMemType { OrtMemTypeDefault = 0 };
enum ONNXTensorElementDataType { ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT = 1, ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8 = 2 };

struct OrtApiBase {
    void* const* (*get_api)(std::uint32_t version);
    const char* (*get_version)();
};
extern "C" const OrtApiBase* OrtGetApiBase();

namespace Ort {

// Places in the table of version 2.
enum Place {
    GetErrorMessage = 2, CreateEnv = 3, CreateSession = 7, RunSession = 9, CreateSessionOptions = 10,
    GetInputTypeInfo = 33, CreateTensorWithData = 49, GetTensorData = 51, CastTypeInfo = 55, GetElementType = 60,
    GetElementCount = 64, GetTypeAndShape = 65, CreateCpuMemoryInfo = 69, AllocatorFree = 76, GetAllocator = 78,
    ReleaseEnv = 92, ReleaseStatus = 93, ReleaseMemoryInfo = 94, ReleaseSession = 95, ReleaseValue = 96,
    ReleaseTypeInfo = 98, ReleaseTypeAndShape = 99, ReleaseSessionOptions = 100, GetModelMetadata = 111,
    LookUpMetadata = 116, ReleaseModelMetadata = 118
};

template <typename Result, typename... Arguments>
Result call_plain(Place place, Arguments... arguments) {
    return reinterpret_cast<Result (*)(Arguments...)>(OrtGetApiBase()->get_api(2)[place])(arguments...);
}

template <typename... Arguments>
void call(Place place, Arguments... arguments) {
    if (void* status = call_plain<void*>(place, arguments...)) {
        const std::string message = call_plain<const char*>(GetErrorMessage, status);
        call_plain<void>(ReleaseStatus, status);
        throw std::runtime_error(message);
    }
}

template <Place release>
struct Owner {
    void* it = nullptr;
    Owner() = default;
    explicit Owner(std::nullptr_t) {}
    Owner(Owner&& other) noexcept : it(std::exchange(other.it, nullptr)) {}
    Owner& operator=(Owner&& other) noexcept { std::swap(it, other.it); return *this; }
    ~Owner() { if (it) call_plain<void>(release, it); }
};

struct Env : Owner<ReleaseEnv> {
    Env(OrtLoggingLevel level, const char* name) { call(CreateEnv, level, name, &it); }
};
struct SessionOptions : Owner<ReleaseSessionOptions> {
    SessionOptions() { call(CreateSessionOptions, &it); }
};
struct RunOptions {
    explicit RunOptions(std::nullptr_t) {}
};
struct AllocatorWithDefaultOptions {
    void* it = nullptr;
    AllocatorWithDefaultOptions() { call(GetAllocator, &it); }
    operator void*() const { return it; }
};
struct AllocatedFree {
    void* allocator;
    void operator()(char* text) const { call(AllocatorFree, allocator, static_cast<void*>(text)); }
};
using AllocatedStringPtr = std::unique_ptr<char, AllocatedFree>;

struct ModelMetadata : Owner<ReleaseModelMetadata> {
    AllocatedStringPtr LookupCustomMetadataMapAllocated(const char* key, void* allocator) const {
        char* text = nullptr;
        call(LookUpMetadata, static_cast<const void*>(it), allocator, key, &text);
        return AllocatedStringPtr(text, AllocatedFree{allocator});
    }
};
struct MemoryInfo : Owner<ReleaseMemoryInfo> {
    static MemoryInfo CreateCpu(OrtAllocatorType allocator, OrtMemType memory) {
        MemoryInfo made;
        call(CreateCpuMemoryInfo, allocator, memory, &made.it);
        return made;
    }
};
struct UnownedTypeAndShape {
    const void* it = nullptr;
    ONNXTensorElementDataType GetElementType() const {
        ONNXTensorElementDataType type{};
        call(Ort::GetElementType, it, &type);
        return type;
    }
};
struct TypeAndShape : Owner<ReleaseTypeAndShape> {
    std::size_t GetElementCount() const {
        std::size_t count = 0;
        call(Ort::GetElementCount, static_cast<const void*>(it), &count);
        return count;
    }
};
struct TypeInfo : Owner<ReleaseTypeInfo> {
    UnownedTypeAndShape GetTensorTypeAndShapeInfo() const {
        UnownedTypeAndShape info;
        call(CastTypeInfo, static_cast<const void*>(it), &info.it);
        return info;
    }
};

struct Value : Owner<ReleaseValue> {
    using Owner::Owner;
    template <typename Number>
    static Value CreateTensor(const MemoryInfo& memory, Number* numbers, std::size_t count, const std::int64_t* shape,
                              std::size_t rank) {
        constexpr auto type =
            sizeof(Number) == 1 ? ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8 : ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
        Value made{nullptr};
        call(CreateTensorWithData, static_cast<const void*>(memory.it), static_cast<void*>(numbers),
             count * sizeof(Number), shape, rank, type, &made.it);
        return made;
    }
    template <typename Number>
    const Number* GetTensorData() const {
        void* numbers = nullptr;
        call(Ort::GetTensorData, it, &numbers);
        return static_cast<const Number*>(numbers);
    }
    TypeAndShape GetTensorTypeAndShapeInfo() const {
        TypeAndShape info;
        call(GetTypeAndShape, static_cast<const void*>(it), &info.it);
        return info;
    }
};

struct Session : Owner<ReleaseSession> {
    Session(const Env& environment, const char* path, const SessionOptions& options) {
        call(CreateSession, static_cast<const void*>(environment.it), path, static_cast<const void*>(options.it), &it);
    }
    ModelMetadata GetModelMetadata() const {
        ModelMetadata found;
        call(Ort::GetModelMetadata, static_cast<const void*>(it), &found.it);
        return found;
    }
    TypeInfo GetInputTypeInfo(std::size_t index) const {
        TypeInfo info;
        call(Ort::GetInputTypeInfo, static_cast<const void*>(it), index, &info.it);
        return info;
    }
    std::vector<Value> Run(const RunOptions&, const char* const* input_names, const Value* inputs, std::size_t input_count,
                           const char* const* output_names, std::size_t output_count) {
        std::vector<const void*> values;
        for (std::size_t at = 0; at < input_count; ++at) values.push_back(inputs[at].it);
        std::vector<void*> results(output_count, nullptr);
        call(RunSession, it, static_cast<const void*>(nullptr), input_names, values.data(), input_count, output_names,
             output_count, results.data());
        std::vector<Value> outputs;
        for (void* result : results) {
            outputs.emplace_back(nullptr);
            outputs.back().it = result;
        }
        return outputs;
    }
};

}  // namespace Ort
