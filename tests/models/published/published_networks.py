"""The published networks once more, as short as they can be said, under the names of their own code: the oracles."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


class ArcFaceBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.prelu = nn.PReLU(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride == 2:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, 2, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn3(self.conv2(self.prelu(self.bn2(self.conv1(self.bn1(x))))))
        return y + (x if self.downsample is None else self.downsample(x))


class ArcFaceIResNet(nn.Module):
    def __init__(self, depths: Sequence[int], side: int = 7, size: int = 512) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.prelu = nn.PReLU(64)
        inputs = 64
        for stage, (depth, outputs) in enumerate(zip(depths, (64, 128, 256, 512), strict=True), start=1):
            blocks = [ArcFaceBlock(inputs, outputs, 2)] + [ArcFaceBlock(outputs, outputs, 1) for _ in range(depth - 1)]
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
            inputs = outputs
        self.bn2 = nn.BatchNorm2d(512)
        self.fc = nn.Linear(512 * side**2, size)
        self.features = nn.BatchNorm1d(size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.prelu(self.bn1(self.conv1(x)))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return self.features(self.fc(self.bn2(x).flatten(1)))


class Layers(nn.Module):
    """Modules in a row under the name `layers`, with the input added at the end if `residual`."""

    def __init__(self, *layers: nn.Module, residual: bool = False) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.residual = residual

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x) if self.residual else self.layers(x)


def mbf_convolution(i: int, o: int, kernel: int, stride: int = 1, padding: int = 0, groups: int = 1) -> Layers:
    return Layers(nn.Conv2d(i, o, kernel, stride, padding, groups=groups, bias=False), nn.BatchNorm2d(o), nn.PReLU(o))


def mbf_depthwise(i: int, o: int, middle: int, stride: int) -> Layers:
    return Layers(
        mbf_convolution(i, middle, 1),
        mbf_convolution(middle, middle, 3, stride, 1, groups=middle),
        Layers(nn.Conv2d(middle, o, 1, bias=False), nn.BatchNorm2d(o)),
        residual=stride == 1,
    )


class ArcFaceMbf(nn.Module):
    def __init__(self, scale: int, blocks: Sequence[int], size: int = 512) -> None:
        super().__init__()
        c, d = 64 * scale, 128 * scale
        second = (
            mbf_convolution(c, c, 3, 1, 1, groups=64)
            if blocks[0] == 1
            else Layers(*(mbf_depthwise(c, c, 128, 1) for _ in range(blocks[0])))
        )
        self.layers = nn.ModuleList(
            [
                mbf_convolution(3, c, 3, 2, 1),
                second,
                mbf_depthwise(c, c, 128, 2),
                Layers(*(mbf_depthwise(c, c, 128, 1) for _ in range(blocks[1]))),
                mbf_depthwise(c, d, 256, 2),
                Layers(*(mbf_depthwise(d, d, 256, 1) for _ in range(blocks[2]))),
                mbf_depthwise(d, d, 512, 2),
                Layers(*(mbf_depthwise(d, d, 256, 1) for _ in range(blocks[3]))),
            ]
        )
        self.conv_sep = mbf_convolution(d, 512, 1)
        globally = Layers(nn.Conv2d(512, 512, 7, groups=512, bias=False), nn.BatchNorm2d(512))
        self.features = Layers(globally, nn.Flatten(), nn.Linear(512, size, bias=False), nn.BatchNorm1d(size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.features(self.conv_sep(x))


class AdaFaceUnit(nn.Module):
    def __init__(self, i: int, o: int, stride: int) -> None:
        super().__init__()
        self.shortcut_layer: nn.Module = nn.MaxPool2d(1, stride)
        if i != o:
            self.shortcut_layer = nn.Sequential(nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o))
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(i),
            nn.Conv2d(i, o, 3, 1, 1, bias=False),
            nn.BatchNorm2d(o),
            nn.PReLU(o),
            nn.Conv2d(o, o, 3, stride, 1, bias=False),
            nn.BatchNorm2d(o),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.shortcut_layer(x) + self.res_layer(x)


class AdaFaceBackbone(nn.Module):
    def __init__(self, depths: Sequence[int], side: int = 7) -> None:
        super().__init__()
        self.input_layer = nn.Sequential(nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.PReLU(64))
        body, i = [], 64
        for depth, o in zip(depths, (64, 128, 256, 512), strict=True):
            body += [AdaFaceUnit(i, o, 2)] + [AdaFaceUnit(o, o, 1) for _ in range(depth - 1)]
            i = o
        self.body = nn.Sequential(*body)
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(512),
            nn.Dropout(0.4),
            nn.Flatten(),
            nn.Linear(512 * side**2, 512),
            nn.BatchNorm1d(512, affine=False),
        )

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The normalised embedding and its norm, as AdaFace returns them."""
        y = self.output_layer(self.body(self.input_layer(x)))
        norm = y.norm(dim=1, keepdim=True)
        return y / norm, norm


class TFaceConvolution(nn.Module):
    def __init__(
        self, i: int, o: int, kernel: int, stride: int = 1, padding: int = 0, groups: int = 1, linear: bool = False
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(i, o, kernel, stride, padding, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(o)
        if not linear:
            self.prelu = nn.PReLU(o)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.bn(self.conv(x))
        return self.prelu(x) if hasattr(self, "prelu") else x


class TFaceDepthwise(nn.Module):
    def __init__(self, i: int, o: int, middle: int, stride: int) -> None:
        super().__init__()
        self.conv = TFaceConvolution(i, middle, 1)
        self.conv_dw = TFaceConvolution(middle, middle, 3, stride, 1, groups=middle)
        self.project = TFaceConvolution(middle, o, 1, linear=True)
        self.stride = stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.project(self.conv_dw(self.conv(x)))
        return x + y if self.stride == 1 else y


class TFaceStage(nn.Module):
    def __init__(self, channels: int, middle: int, repeats: int) -> None:
        super().__init__()
        self.model = nn.Sequential(*(TFaceDepthwise(channels, channels, middle, 1) for _ in range(repeats)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x)


class TFaceEnd(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.conv_6_dw = TFaceConvolution(512, 512, 7, groups=512, linear=True)
        self.linear = nn.Linear(512, size, bias=False)
        self.bn = nn.BatchNorm1d(size, affine=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.bn(self.linear(self.conv_6_dw(x).flatten(1)))


class TFaceMobileFaceNet(nn.Module):
    def __init__(self, size: int = 512) -> None:
        super().__init__()
        self.conv1 = TFaceConvolution(3, 64, 3, 2, 1)
        self.conv2_dw = TFaceConvolution(64, 64, 3, 1, 1, groups=64)
        self.conv_23 = TFaceDepthwise(64, 64, 128, 2)
        self.conv_3 = TFaceStage(64, 128, 4)
        self.conv_34 = TFaceDepthwise(64, 128, 256, 2)
        self.conv_4 = TFaceStage(128, 256, 6)
        self.conv_45 = TFaceDepthwise(128, 128, 512, 2)
        self.conv_5 = TFaceStage(128, 256, 2)
        self.conv_6_sep = TFaceConvolution(128, 512, 1)
        self.output_layer = TFaceEnd(size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.children():
            x = layer(x)
        return x


def randomised(network: nn.Module, seed: int = 0) -> nn.Module:
    """The network in eval mode, with other numbers in each batch norm and PReLU, so that none can stand for another."""
    generator = torch.Generator().manual_seed(seed)

    def between(tensor: torch.Tensor, low: float, high: float) -> None:
        tensor.data.uniform_(low, high, generator=generator)

    for layer in network.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            between(layer.running_mean, -0.1, 0.1)
            between(layer.running_var, 0.5, 1.5)
            if layer.affine:
                between(layer.weight, 0.5, 1.5)
                between(layer.bias, -0.1, 0.1)
        elif isinstance(layer, nn.PReLU):
            between(layer.weight, 0.0, 0.5)
        elif isinstance(layer, (nn.Conv2d, nn.Linear)):
            bound = (3 / layer.weight[0].numel()) ** 0.5
            between(layer.weight, -bound, bound)
    return network.eval()
