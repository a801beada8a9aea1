"""Open-RayZer and LVSM written down plainly, on the names of their checkpoints: what the model is compared with.

As `plain_network`: one sample at a time, attention as explicit sums in float64, no shared code with the package.
"""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tests.helpers.plain_network import Plain


class PlainSystem(Plain):
    """Blocks with named attention, optional rotary positions and an epsilon of their own."""

    names = ("to_qkv", "fc")
    eps = 1e-5
    base = 100.0

    def rotated(self, x: Tensor, places: list[tuple[int, int]]) -> Tensor:
        """Rotate the channels of each token, pair by pair, by its row and its column."""
        half = x.shape[-1] // 2
        result = x.clone()
        for token, place in enumerate(places):
            for axis in range(2):
                for j in range(half // 2):
                    angle = place[axis] * self.base ** (-2 * j / half)
                    a, b = axis * half + j, axis * half + j + half // 2
                    u, v = x[token, a], x[token, b]
                    result[token, a] = u * math.cos(angle) - v * math.sin(angle)
                    result[token, b] = v * math.cos(angle) + u * math.sin(angle)
        return result

    def run_block(self, x: Tensor, name: str, places: list[tuple[int, int]] | None) -> Tensor:
        h = self.norm(x, f"{name}.norm1")
        q, k, v = self.linear(h, f"{name}.attn.{self.names[0]}").chunk(3, dim=-1)
        heads = []
        for start in range(0, x.shape[-1], self.head_width):
            part = slice(start, start + self.head_width)
            both = []
            for t, n in ((q, "q_norm"), (k, "k_norm")):
                scale = (t[:, part].square().mean(-1, keepdim=True) + self.eps).sqrt()
                normed = t[:, part] / scale * self.w(f"{name}.attn.{n}.weight")
                both.append(normed if places is None else self.rotated(normed, places))
            scores = torch.exp(both[0] @ both[1].T / math.sqrt(self.head_width))
            heads.append(scores @ v[:, part] / scores.sum(-1, keepdim=True))
        x = x + self.linear(torch.cat(heads, dim=-1), f"{name}.attn.{self.names[1]}")
        h = self.linear(self.norm(x, f"{name}.norm2"), f"{name}.mlp.mlp.0")
        return x + self.linear(h * 0.5 * (1 + torch.erf(h / math.sqrt(2))), f"{name}.mlp.mlp.2")

    def run_stack(self, x: Tensor, name: str, places: list[tuple[int, int]] | None = None) -> Tensor:
        number = 0
        while f"{name}.{number}.norm1.weight" in self.weights:
            x = self.run_block(x, f"{name}.{number}", places)
            number += 1
        assert number
        return x

    def plucker(self, pose: np.ndarray, fx: float, fy: float, cx: float, cy: float) -> Tensor:
        """Moment and direction at the pixel centres [6 h w]; intrinsics in pixels."""
        image = torch.zeros(6, self.size, self.size, dtype=torch.float64)
        for y in range(self.size):
            for x in range(self.size):
                ray = pose[:3, :3] @ np.array([(x + 0.5 - cx) / fx, (y + 0.5 - cy) / fy, 1.0])
                ray /= np.linalg.norm(ray)
                image[:, y, x] = torch.from_numpy(np.concatenate([np.cross(pose[:3, 3], ray), ray]))
        return image

    def picture(self, tokens: Tensor, name: str) -> Tensor:
        pixels = torch.sigmoid(self.linear(tokens, name))
        image = torch.zeros(3, self.size, self.size, dtype=torch.float64)
        for n, values in enumerate(pixels):
            y, x = n // self.grid * self.patch, n % self.grid * self.patch
            cut = values.view(self.patch, self.patch, 3).permute(2, 0, 1)
            image[:, y : y + self.patch, x : x + self.patch] = cut
        return image

    def plain_norm(self, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()


class PlainLvsm(PlainSystem):
    """Both networks; the one without latents is decoder-only."""

    def normalised(self, c2w: np.ndarray) -> np.ndarray:
        c2w = c2w.astype(np.float64)
        forward, down = c2w[:, :3, 2].mean(0), c2w[:, :3, 1].mean(0)
        forward /= np.linalg.norm(forward)
        right = np.cross(down, forward)
        right /= np.linalg.norm(right)
        down = np.cross(forward, right)
        frame = np.eye(4)
        frame[:3] = np.stack([right, down, forward, c2w[:, :3, 3].mean(0)], axis=1)
        moved = np.linalg.inv(frame) @ c2w
        moved[:, :3, 3] /= 1.35 * np.abs(moved[:, :3, 3]).max()
        return moved

    def run_views(self, images: Tensor, c2w: np.ndarray, fxfycxcy: np.ndarray) -> dict[str, Tensor]:
        poses = self.normalised(c2w)
        rays = [self.plucker(pose, *view) for pose, view in zip(poses, fxfycxcy.astype(np.float64), strict=True)]
        inputs = [
            self.linear(self.patches(torch.cat((2 * images[v].double() - 1, rays[v]))), "image_tokenizer.1")
            for v in range(self.inputs)
        ]
        context, decoder, norm = torch.cat(inputs), "transformer_blocks", "transformer_input_layernorm"
        if "n_light_field_latent" in self.weights:
            latents = self.w("n_light_field_latent")
            context = self.run_stack(torch.cat((latents, context)), "transformer_encoder")[: len(latents)]
            decoder, norm = "transformer_decoder", "transformer_input_layernorm_decoder"
        rendered = []
        for v in range(self.inputs, len(images)):
            target = self.linear(self.patches(rays[v]), "target_pose_tokenizer.1")
            x = self.run_stack(self.norm(torch.cat((target, context)), norm), decoder)[: len(target)]
            rendered.append(self.picture(self.norm(x, "image_token_decoder.0"), "image_token_decoder.1"))
        return {"c2w_normalised": torch.from_numpy(poses), "render": torch.stack(rendered)}


class PlainOpenRayzer(PlainSystem):
    """Rotary positions where attention is named `qkv`; `alternating` or every view by itself."""

    alternating = True

    def run_views(self, images: Tensor) -> dict[str, Tensor]:
        rotary = "estimator_blocks.0.attn.qkv.weight" in self.weights
        self.names, self.eps = (("qkv", "proj"), 1e-5) if rotary else (("to_qkv", "fc"), 1e-3)
        images, views = images.double(), len(images)
        grid = [(n // self.grid + 1, n % self.grid + 1) for n in range(self.grid**2)]
        latents = self.w("latent_scene_tokens")
        still = [(0, 0)] * len(latents)
        content = [self.linear(self.patches(image), "image_tokenizer.1") for image in images]
        poses, fov = self.cameras_of([self.norm(x, "estimator_layernorm") for x in content], grid if rotary else None)
        focal = 0.5 * self.size / math.tan(fov / 2)
        rays = [self.plucker(pose, focal, focal, self.size / 2, self.size / 2) for pose in poses]
        fused = torch.cat([self.fused(images[v], content[v], rays[v]) for v in range(self.inputs)])
        x = self.norm(torch.cat((fused, latents)), "encoder_layernorm")
        scene = self.run_stack(x, "encoder_blocks", grid * self.inputs + still if rotary else None)[-len(latents) :]
        rendered = []
        for v in range(self.inputs, views):
            x = self.norm(
                torch.cat((self.linear(self.patches(rays[v]), "target_pose_tokenizer.1"), scene)), "decoder_layernorm"
            )
            x = self.run_stack(x, "decoder_blocks", grid + still if rotary else None)[: len(grid)]
            rendered.append(self.picture(self.plain_norm(x), "image_unpatchifier.1"))
        return {
            "c2w": torch.from_numpy(np.stack(poses)),
            "fov": torch.tensor([fov], dtype=torch.float64),
            "render": torch.stack(rendered),
        }

    def cameras_of(self, tokens: list[Tensor], grid: list[tuple[int, int]] | None) -> tuple[list[np.ndarray], float]:
        views, number = len(tokens), 0
        while (name := f"estimator_blocks.{number}") + ".norm1.weight" in self.weights:
            if self.alternating and number % 2 == 0:
                x = self.run_block(torch.cat(tokens), name, None if grid is None else grid * views)
                tokens = list(x.chunk(views))
            else:
                tokens = [self.run_block(x, name, grid) for x in tokens]
            number += 1
        head = "pose_wrapper"
        features = []
        for x in tokens:
            for block in range(2):
                h = x
                for layer in (1, 2, 3):
                    h = functional.relu(self.linear(h, f"{head}.res_conv.{block}.res_conv{layer}"))
                x = x + h
            features.append(x.mean(0))
        h = torch.stack(features).mean(0)
        for layer in (0, 2):
            h = functional.relu(self.linear(h, f"{head}.fov_mlp.{layer}"))
        fov = max(math.log1p(math.exp(self.linear(h, f"{head}.fov_head").item())), 1e-6)
        poses = []
        for h in features:
            for layer in (0, 2):
                h = functional.relu(self.linear(h, f"{head}.more_mlps.{layer}"))
            matrix = self.linear(h, f"{head}.fc_rot").view(3, 3).numpy()
            matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
            u, _, vt = np.linalg.svd(matrix)
            pose = np.eye(4)
            pose[:3, :3] = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt
            pose[:3, 3] = self.linear(h, f"{head}.fc_t").numpy()
            poses.append(pose)
        return poses, fov

    def fused(self, image: Tensor, content: Tensor, rays: Tensor) -> Tensor:
        if "encoder_tokenizer.1.weight" in self.weights:
            return self.linear(self.patches(torch.cat((image, rays))), "encoder_tokenizer.1")
        ray = self.linear(self.patches(rays), "pose_tokenizer.1")
        sides = [
            self.norm(x, f"encoder_fuse.{n}") + self.w(f"encoder_fuse.{n}.bias")
            for x, n in ((content, "ln_a"), (ray, "ln_b"))
        ]
        h = torch.cat(sides, dim=-1)
        for layer in (0, 3):
            h = functional.gelu(self.linear(h, f"encoder_fuse.net.{layer}"))
        return self.linear(h, "encoder_fuse.net.6") + 0.5 * (content + ray)
