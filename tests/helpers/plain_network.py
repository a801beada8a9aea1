"""The released network written down once more, plainly, on released key names: what the model is compared with.

One sample at a time, attention as explicit sums in float64, no batching and no shared code with the package.
"""

import math
from dataclasses import dataclass
from math import gcd

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


@dataclass
class Plain:
    weights: dict[str, Tensor]
    size: int
    patch: int
    head_width: int
    inputs: int
    quaternion: bool = False
    middle: bool = False
    threshold: float | None = None

    def __post_init__(self):
        self.weights = {name: value.double() for name, value in self.weights.items()}
        self.grid = self.size // self.patch

    def w(self, name):
        return self.weights[name]

    def linear(self, x, name):
        y = x @ self.w(f"{name}.weight").T
        return y + self.w(f"{name}.bias") if f"{name}.bias" in self.weights else y

    def norm(self, x, name):
        centred = x - x.mean(-1, keepdim=True)
        return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * self.w(f"{name}.weight")

    def mlp(self, x, name):
        return self.linear(functional.silu(self.linear(x, f"{name}.0")), f"{name}.2")

    def block(self, x, name, width):
        h = self.norm(x, f"{name}.norm1")
        q, k, v = self.linear(h, f"{name}.attn.to_qkv").chunk(3, dim=-1)
        heads = []
        for start in range(0, x.shape[-1], width):
            part = slice(start, start + width)
            qh, kh = (
                t[:, part]
                / (t[:, part].square().mean(-1, keepdim=True) + 1e-5).sqrt()
                * self.w(f"{name}.attn.{n}.weight")
                for t, n in ((q, "q_norm"), (k, "k_norm"))
            )
            scores = torch.exp(qh @ kh.T / math.sqrt(width))
            heads.append(scores @ v[:, part] / scores.sum(-1, keepdim=True))
        x = x + self.linear(torch.cat(heads, dim=-1), f"{name}.attn.fc")
        h = self.linear(self.norm(x, f"{name}.norm2"), f"{name}.mlp.mlp.0")
        return x + self.linear(h * 0.5 * (1 + torch.erf(h / math.sqrt(2))), f"{name}.mlp.mlp.2")

    def stack(self, x, name, width=None):
        number = 0
        while f"{name}.{number}.norm1.weight" in self.weights:
            x = self.block(x, f"{name}.{number}", width or self.head_width)
            number += 1
        assert number
        return x

    def sinusoid(self, position, width):
        angles = [position * 10000 ** (-j / (width / 2)) for j in range(width // 2)]
        return [math.sin(a) for a in angles] + [math.cos(a) for a in angles]

    def patches(self, image):
        rows = []
        for gy in range(self.grid):
            for gx in range(self.grid):
                cut = image[:, gy * self.patch :, gx * self.patch :][:, : self.patch, : self.patch]
                rows.append(cut.permute(1, 2, 0).reshape(-1))
        return torch.stack(rows)

    def tokens(self, images):
        d = self.w("cam_code").shape[-1]
        result = []
        for number, image in enumerate(images):
            code = [
                self.sinusoid(n % self.grid, d // 4)
                + self.sinusoid(n // self.grid, d // 4)
                + self.sinusoid(number, d // 2)
                for n in range(self.grid**2)
            ]
            place = self.mlp(torch.tensor(code, dtype=torch.float64), "pe_embedder")
            result.append(self.linear(self.patches(2 * image - 1), "image_tokenizer.1") + place)
        return result

    def cameras(self, tokens):
        d, views = tokens[0].shape[-1], len(tokens)
        number = torch.tensor([self.sinusoid(v, d) for v in range(views)], dtype=torch.float64)
        camera = self.w("cam_code") + self.mlp(number, "temporal_pe_embedder")
        camera = self.stack(torch.cat([camera, *tokens]), "transformer_encoder")[:views]
        origin = views // 2 if self.middle else 0
        focal = self.mlp(camera[origin], "pose_predictor.canonical_k_head").item() + 1.25
        poses = []
        for view in range(views):
            pose = np.eye(4)
            if view != origin:
                raw = self.mlp(torch.cat((camera[origin], camera[view])), "pose_predictor.rel_head").numpy()
                pose[:3, :3] = self.rotation(raw[:-3])
                pose[:3, 3] = raw[-3:]
            poses.append(pose)
        return poses, focal

    def rotation(self, raw):
        if self.quaternion:
            w, *v = (raw + np.array([1.0, 0, 0, 0])) / np.linalg.norm(raw + np.array([1.0, 0, 0, 0]))
            v = np.array(v)
            return np.stack([e + 2 * np.cross(v, np.cross(v, e) + w * e) for e in np.eye(3)], axis=1)
        a1, a2 = (raw + np.array([1.0, 0, 0, 0, 1, 0])).reshape(2, 3)
        b1 = a1 / np.linalg.norm(a1)
        b2 = a2 - (b1 @ a2) * b1
        b2 /= np.linalg.norm(b2)
        return np.stack([b1, b2, np.cross(b1, b2)], axis=1)

    def rays(self, pose, focal, name):
        image = torch.zeros(6, self.size, self.size, dtype=torch.float64)
        for y in range(self.size):
            for x in range(self.size):
                ray = np.array([((x + 0.5) / self.size - 0.5) / focal, ((y + 0.5) / self.size - 0.5) / focal, 1.0])
                ray = pose[:3, :3] @ ray
                ray /= np.linalg.norm(ray)
                image[:, y, x] = torch.from_numpy(np.concatenate([np.cross(pose[:3, 3], ray), ray]))
        return self.linear(self.patches(image), f"{name}.1")

    def motion_logits(self, features, tokens, rays):
        head = "motion_mask_predictor"
        sources = [(features, "dino_proj"), (tokens, "token_proj"), (rays, "pose_proj")]
        x = torch.cat([self.linear(self.norm(x, f"{head}.{n}.0"), f"{head}.{n}.1") for x, n in sources], dim=-1)
        x = self.linear(self.norm(x, f"{head}.fusion_mlp.0"), f"{head}.fusion_mlp.1")
        x = self.linear(functional.gelu(x), f"{head}.fusion_mlp.3")
        x = self.stack(x, f"{head}.motion_transformer", width=x.shape[-1] // 12)
        x = self.linear(self.norm(x, f"{head}.dpt_readout.0"), f"{head}.dpt_readout.1")
        x = x.T.reshape(1, -1, self.grid, self.grid)
        x = functional.gelu(self.group(self.conv(x, f"{head}.scale1_refine.0"), f"{head}.scale1_refine.1", 32))
        x = self.conv(x, f"{head}.scale1_refine.3")
        for stage, groups in zip((2, 3, 4, 5), (32, 32, 16, 8), strict=True):
            x = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x, up = self.conv(x, f"{head}.up{stage}.conv_up"), f"{head}.up{stage}.refine"
            x = functional.gelu(self.group(x, f"{up}.0", gcd(x.shape[1], 32)))
            x = functional.gelu(self.group(self.conv(x, f"{up}.2"), f"{up}.3", gcd(x.shape[1], 32)))
            refine = f"{head}.scale{stage}_refine"
            x = functional.gelu(self.group(self.conv(x, f"{refine}.0"), f"{refine}.1", groups))
        return self.conv(functional.gelu(self.conv(x, f"{head}.head.0")), f"{head}.head.2")[0]

    def conv(self, x, name):
        weight = self.w(f"{name}.weight")
        return functional.conv2d(x, weight, self.w(f"{name}.bias"), padding=weight.shape[-1] // 2)

    def group(self, x, name, groups):
        parts = x.reshape(groups, -1)
        parts = (parts - parts.mean(1, keepdim=True)) / (parts.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
        return parts.view_as(x) * self.w(f"{name}.weight")[:, None, None] + self.w(f"{name}.bias")[:, None, None]

    def run(self, images, features=None):
        """All outputs of one sample [v 3 h w]; token masks of the inputs alone."""
        tokens = self.tokens(images.double())
        poses, focal = self.cameras(tokens)
        fused, logits, masks = [], [], []
        for view in range(self.inputs):
            rays = self.rays(poses[view], focal, "target_pose_tokenizer")
            h = self.norm(torch.cat((tokens[view], rays), dim=-1), "mlp_fuse.0")
            h = self.linear(functional.silu(self.linear(h, "mlp_fuse.1")), "mlp_fuse.3")
            if self.threshold is not None:
                logits.append(self.motion_logits(features[view].double(), tokens[view], rays))
                mean = self.patches(torch.sigmoid(logits[-1])).mean(-1)
                masks.append(mean > self.threshold)
                h = torch.where(masks[-1][:, None], self.w("noise_token")[0], h)
            fused.append(h)
        code = self.w("scene_code")
        scene = self.stack(torch.cat([code, *fused]), "transformer_encoder_geom")[: len(code)]
        rendered = []
        for view in range(len(images)):
            rays = self.rays(poses[view], focal, "target_pose_tokenizer2")
            if self.threshold is not None and view >= self.inputs:
                logits.append(self.motion_logits(features[view].double(), tokens[view], rays))
            x = self.stack(self.norm(torch.cat((rays, scene)), "decoder_ln"), "transformer_decoder")[: len(rays)]
            pixels = torch.sigmoid(self.linear(self.norm(x, "image_token_decoder.0"), "image_token_decoder.1"))
            picture = torch.zeros(3, self.size, self.size, dtype=torch.float64)
            for n, values in enumerate(pixels):
                y, x0 = n // self.grid * self.patch, n % self.grid * self.patch
                cut = values.view(self.patch, self.patch, 3).permute(2, 0, 1)
                picture[:, y : y + self.patch, x0 : x0 + self.patch] = cut
            rendered.append(picture)
        return {
            "c2w": torch.from_numpy(np.stack(poses)),
            "focal": focal,
            "render": torch.stack(rendered[self.inputs :]),
            "render_inputs": torch.stack(rendered[: self.inputs]),
            "logits": torch.stack(logits) if logits else None,
            "masks": torch.stack(masks) if masks else None,
        }
