"""The feature extractor, and how it is pre-trained on the digits 0 to 4."""

import torch
import torch.nn as nn


def conv_block(c_in, c_out):
    return nn.Sequential(nn.Conv2d(c_in, c_out, 3, padding=1, bias=False), nn.BatchNorm2d(c_out), nn.ReLU())


class Backbone(nn.Module):
    out_features = 32 * 4

    def __init__(self):
        super().__init__()
        self.layer1 = conv_block(1, 24)
        self.layer2 = conv_block(24, 32)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x):
        x = self.pool(self.layer1(x))
        x = self.pool(self.layer2(x))
        return torch.flatten(x, 1)


class Classifier(nn.Module):
    def __init__(self, backbone, n_classes):
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(backbone.out_features, n_classes)

    def forward(self, x):
        return self.head(self.backbone(x))


class FrozenClassifier(Classifier):
    """Only the head learns: the backbone takes no gradient and its batch norms keep their statistics."""

    def __init__(self, backbone, n_classes):
        super().__init__(backbone, n_classes)
        for p in self.backbone.parameters():
            p.requires_grad = False

    def train(self, mode=True):
        super().train(mode)
        self.backbone.eval()
        return self
