"""What a vision tower reserves at its warm-up: the graph of one image of the size that llama-server warms up with.

Source (b11434): tools/mtmd/clip.cpp (`clip_model_loader::warmup`, `build_vit`, `build_attn`, `build_ffn`),
tools/mtmd/models/qwen2vl.cpp, qwen3vl.cpp, siglip.cpp, internvl.cpp, pixtral.cpp. Other towers, and
sound, are not known here.
"""

from __future__ import annotations

from types import MappingProxyType

from inspector.memory.engines.llamacpp.graph.alloc import measure
from inspector.memory.engines.llamacpp.graph.model import GraphUnknown, external
from inspector.memory.engines.llamacpp.graph.ops import Ops
from inspector.memory.engines.llamacpp.graph.tensor import F16, F32, I32, Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Final

    from inspector.formats.modelfile import TensorInfo
    from inspector.memory.engines.llamacpp.backends import Backend
    from inspector.memory.engines.llamacpp.graph.tensor import Elem

_QWEN_SIDE: Final = 46  # tokens a side (set_warmup_n_tokens)
_PIXTRAL_SIDE: Final = 16
_MOST_PATCHES: Final = 1 << 16
_MOST_LAYERS: Final = 512


class Tower(Ops):
    """A vision transformer; a subclass says how its patches come in and how its outputs leave."""

    rms = False

    def __init__(self, tensors: Sequence[TensorInfo], keys: Mapping[str, Any], *, flash: bool, buf: int) -> None:
        super().__init__()
        self.keys, self.flash, self.buf = keys, flash, buf
        self.by_name = {t.name: t for t in tensors}
        self.patch = self.count("patch_size")
        self.n_embd = self.count("embedding_length")
        self.n_head = self.count("attention.head_count")
        self.d_head = self.n_embd // self.n_head
        self.n_layer = self.whole("block_count")
        self.side = self.image_side() // self.patch  # patches a side
        self.n_patches = self.n_tokens = self.side * self.side
        if not 0 < self.n_patches <= _MOST_PATCHES or self.n_layer > _MOST_LAYERS or not self.d_head:
            raise GraphUnknown("an image of this size")

    def whole(self, name: str, default: int | None = None) -> int:
        """A whole number of the file's. Raises GraphUnknown."""
        value = self.keys.get(f"clip.vision.{name}", default)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 31:
            raise GraphUnknown(f"clip.vision.{name}")
        return value

    def count(self, name: str, default: int | None = None) -> int:
        """A number from 1 on. Raises GraphUnknown."""
        value = self.whole(name, default)
        if not value:
            raise GraphUnknown(f"clip.vision.{name}")
        return value

    def image_side(self) -> int:
        """Pixels a side of the image that the warm-up takes."""
        return self.count("image_size")

    def has(self, name: str) -> bool:
        """Whether the file has a tensor."""
        return name in self.by_name

    def w(self, name: str) -> Tensor:
        """A weight. Raises GraphUnknown where the file has none."""
        info = self.by_name.get(name)
        if info is None or not 0 < len(info.shape) <= 4 or 0 in info.shape:
            raise GraphUnknown(name)
        dtype = info.dtype
        elem: Elem = F32 if dtype is None else (dtype.block_elems, dtype.block_bytes, dtype.name.lower())
        t = external(elem, info.shape[::-1])
        t.weight, t.buf = True, self.buf
        return t

    def lin(self, x: Tensor, name: str) -> Tensor:
        """Times a matrix, plus its bias where there is one."""
        x = self.mm(self.w(f"{name}.weight"), x)
        return self.add(x, self.w(f"{name}.bias")) if self.has(f"{name}.bias") else x

    def norm(self, x: Tensor, name: str) -> Tensor:
        """Normed, times a weight, plus a bias where there is one (build_norm)."""
        x = self.mul(self.rms_norm(x) if self.rms else self.layer_norm(x), self.w(f"{name}.weight"))
        return self.add(x, self.w(f"{name}.bias")) if self.has(f"{name}.bias") else x

    def conv(self, kernel: Tensor, image: Tensor) -> Tensor:
        """A convolution without overlap: columns, a product, their order restored (ggml_conv_2d)."""
        out_w, out_h = image.ne[0] // kernel.ne[0], image.ne[1] // kernel.ne[1]
        columns = kernel.ne[0] * kernel.ne[1] * kernel.ne[2]
        elem = F32 if kernel.elem[2] == "bf16" else F16
        x = self.custom("im2col", elem, (columns, out_w, out_h, image.ne[3]), kernel, image)
        x = self.mm(self.reshape(x, columns, out_w * out_h * image.ne[3]), self.reshape(kernel, columns, kernel.ne[3]))
        x = self.reshape(x, out_w, out_h, image.ne[3], kernel.ne[3])
        return self.cont(self.permute(x, 0, 1, 3, 2))

    def image(self) -> Tensor:
        """The picture."""
        return self.input(F32, self.side * self.patch, self.side * self.patch, 3, 1)

    def patches(self) -> Tensor:
        """[n_embd, patches] of the picture (build_inp)."""
        x = self.reshape(self.conv(self.w("v.patch_embd.weight"), self.image()), self.n_patches, self.n_embd, 1)
        x = self.cont(self.transpose(x))
        return self.add(x, self.w("v.patch_embd.bias")) if self.has("v.patch_embd.bias") else x

    def rotated(self, x: Tensor) -> Tensor:
        """Queries or keys with their positions."""
        return x

    def qkv(self, x: Tensor, block: str) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, [head, heads, patches] each."""
        shape = (self.d_head, self.n_head, self.n_tokens)
        if self.has(f"{block}.attn_qkv.weight"):
            x = self.lin(x, f"{block}.attn_qkv")
            q, k, v = (self.view(x, shape, (4 * self.d_head, x.nb[1])) for _ in "qkv")
        else:
            q, k, v = (self.lin(x, f"{block}.attn_{name}") for name in "qkv")
            q, k, v = (self.reshape(t, *shape) for t in (q, k, v))
        return self.rotated(q), self.rotated(k), v

    def attention(self, x: Tensor, block: str, mask: Tensor | None) -> Tensor:
        """Attention over all patches (build_attn)."""
        found = [self.expand(t) for t in self.qkv(x, block)]
        q, k = (self.permute(t, 0, 2, 1, 3) for t in found[:2])
        more = () if mask is None else (mask,)
        if self.flash:
            v = self.permute(found[2], 0, 2, 1, 3)
            k, v = self.cast_f16(k), self.cast_f16(v)
            x = self.flash_attn(q, k, v, *(self.cast_f16(t) for t in more))
            x = self.reshape(x, x.ne[0] * x.ne[1], x.ne[2] * x.ne[3])
        else:
            v = self.cont(self.permute(found[2], 1, 2, 0, 3))
            x = self.mm(v, self.soft_max(self.mm(k, q), *more))
            x = self.permute(x, 0, 2, 1, 3)
            x = self.cont(x, x.ne[0] * x.ne[1], x.ne[2] * x.ne[3])
        return self.lin(x, f"{block}.attn_out")

    def ffn(self, x: Tensor, block: str) -> Tensor:
        """A feed-forward (build_ffn)."""
        up = self.lin(x, f"{block}.ffn_up")
        gated = self.has(f"{block}.ffn_gate.weight")
        x = self.glu(self.lin(x, f"{block}.ffn_gate"), up) if gated else self.unary(up)
        return self.lin(x, f"{block}.ffn_down")

    def mlp(self, x: Tensor, first: str, last: str) -> Tensor:
        """Two matrices with an activation between."""
        return self.lin(self.unary(self.lin(x, first)), last)

    def layer(self, x: Tensor, il: int, mask: Tensor | None = None) -> Tensor:
        """One block: [n_embd, patches] in and out."""
        block = f"v.blk.{il}"
        attended = self.attention(self.norm(x, f"{block}.ln1"), block, mask)
        mid = self.add(self.scaled(attended, f"{block}.ls1"), x)
        return self.add(mid, self.scaled(self.ffn(self.norm(mid, f"{block}.ln2"), block), f"{block}.ls2"))

    def scaled(self, x: Tensor, name: str) -> Tensor:
        """Times a factor a channel, where the file has them."""
        return self.mul(x, self.w(f"{name}.weight")) if self.has(f"{name}.weight") else x

    def transformed(self, x: Tensor) -> Tensor:
        """All layers (build_vit): [n_embd, tokens] in and out."""
        x = self.outer_norm(self.reshape(x, self.n_embd, self.n_tokens), "v.pre_ln")
        for il in range(self.n_layer):
            x = self.layer(x, il)
        return self.reshape(self.outer_norm(x, "v.post_ln"), self.n_embd, self.n_tokens, 1)

    def shuffled(self, x: Tensor, factor: int) -> Tensor:
        """Squares of patches made one token each (build_patch_merge_permute)."""
        e, n = self.n_embd, self.side
        if n % factor:
            x = self.pad(self.reshape(x, e, n, n), 0, -n % factor, -n % factor)
            n += -n % factor
        part = n // factor
        x = self.permute(self.reshape(x, e * factor, part, n), 0, 2, 1, 3)
        x = self.permute(self.cont(x, e * factor * factor, part, part), 0, 2, 1, 3)
        return self.cont(x, e * factor * factor, part * part)

    def outer_norm(self, x: Tensor, name: str) -> Tensor:
        """Before the first layer or after the last, where the file has one."""
        return self.norm(x, name) if self.has(f"{name}.weight") else x

    def build(self) -> None:
        """The whole graph."""
        raise NotImplementedError


class Qwen2Vl(Tower):
    """Qwen2-VL, and 2.5 with windows in most layers (tools/mtmd/models/qwen2vl.cpp)."""

    windows = False

    def image_side(self) -> int:
        """46 × 46 tokens, whatever the images."""
        return _QWEN_SIDE * self.patch * self.whole("spatial_merge_size", 2)

    def rotated(self, x: Tensor) -> Tensor:
        """By row and column of the patch."""
        return self.rope(x, self.positions)

    def merged(self, x: Tensor) -> Tensor:
        """Patches in the order in which four of them make a token."""
        e, n, half = self.n_embd, self.side, self.side // 2
        x = self.cont(x, 2 * e, half, n, 1)
        x = self.permute(self.reshape(x, 2 * e, half, 2, half), 0, 2, 1, 3)
        return self.cont(x, e, self.n_patches, 1)

    def patches(self) -> Tensor:
        """Two frames of one picture, added."""
        image = self.image()
        both = [self.conv(self.w(name), image) for name in ("v.patch_embd.weight", "v.patch_embd.weight.1")]
        return self.merged(self.permute(self.add(*both), 1, 2, 0, 3))

    def build(self) -> None:
        """Patches, layers, and a projection of four patches each."""
        x = self.patches()
        self.positions = self.input(I32, 4 * self.n_patches)
        x = self.outer_norm(x, "v.pre_ln")
        mask = None
        if self.windows:
            mask = self.input(F32, self.n_patches, self.n_patches)
            mask = self.cast_f16(mask) if self.flash else mask
            x = self.ordered(x)
        every = self.count("n_wa_pattern") if self.windows else 1
        for il in range(self.n_layer):
            x = self.layer(x, il, None if (il + 1) % every == 0 else mask)
        x = self.outer_norm(x, "v.post_ln")
        x = self.mlp(self.reshape(x, 4 * self.n_embd, self.n_patches // 4, 1), "mm.0", "mm.2")
        self.expand(self.get_rows(x, self.input(I32, self.n_patches // 4)) if self.windows else x)

    def ordered(self, x: Tensor) -> Tensor:
        """Tokens in the order of their windows."""
        x = self.reshape(x, 4 * self.n_embd, self.n_patches // 4)
        x = self.get_rows(x, self.input(I32, self.n_patches // 4))
        return self.reshape(x, self.n_embd, self.n_patches, 1)


class Qwen25Vl(Qwen2Vl):
    """Windows, and norms by root mean square."""

    rms = True
    windows = True


class Qwen3Vl(Qwen2Vl):
    """Learned positions as well, and features of some layers beside the last (tools/mtmd/models/qwen3vl.cpp)."""

    def patches(self) -> Tensor:
        """With a bias, and a learned position for each, resized."""
        x = super().patches()
        x = self.add(x, self.w("v.patch_embd.bias"))
        return self.add(x, self.merged(self.learned()))

    def learned(self) -> Tensor:
        """Positions for this many patches (resize_position_embeddings)."""
        table, n = self.w("v.position_embd.weight"), self.side
        was = int(table.ne[1] ** 0.5)
        if was == n:
            return table
        x = self.permute(self.reshape(table, self.n_embd, was, was), 2, 0, 1, 3)
        x = self.custom("upscale", F32, (n, n, self.n_embd, 1), x)
        return self.cont(self.permute(x, 1, 2, 0, 3), self.n_embd, n * n)

    def build(self) -> None:
        """Patches, layers, features of some, and a projection of four patches each."""
        x = self.patches()
        self.positions = self.input(I32, 4 * self.n_patches)
        x = self.outer_norm(x, "v.pre_ln")
        features = None
        for il in range(self.n_layer):
            x = self.layer(x, il)
            stack = f"v.deepstack.{il}"
            if self.has(f"{stack}.fc1.weight"):
                feature = self.norm(self.reshape(x, 4 * self.n_embd, self.n_patches // 4, 1), f"{stack}.norm")
                feature = self.mlp(feature, f"{stack}.fc1", f"{stack}.fc2")
                features = feature if features is None else self.concat(features, feature, 0)
        x = self.outer_norm(x, "v.post_ln")
        x = self.mlp(self.reshape(x, 4 * self.n_embd, self.n_patches // 4, 1), "mm.0", "mm.2")
        self.expand(x if features is None else self.concat(x, features, 0))


class Gemma3(Tower):
    """SigLIP, its patches pooled (tools/mtmd/models/siglip.cpp)."""

    def build(self) -> None:
        """Patches, layers, and averages of neighbours projected."""
        x = self.transformed(self.add(self.patches(), self.w("v.position_embd.weight")))
        pooled = self.side // self.count("projector.scale_factor", 4)
        x = self.cont(self.transpose(x), self.side, self.side, self.n_embd, 1)
        x = self.custom("pool_2d", F32, (pooled, pooled, self.n_embd, 1), x)
        x = self.cont(self.transpose(self.reshape(x, pooled * pooled, self.n_embd, 1)))
        x = self.mul(self.rms_norm(x), self.w("mm.soft_emb_norm.weight"))
        self.expand(self.mm(self.cont(self.transpose(self.w("mm.input_projection.weight"))), x))


class Idefics3(Tower):
    """SigLIP, its patches made fewer (tools/mtmd/models/siglip.cpp)."""

    def build(self) -> None:
        """Patches, layers, and a projection of squares."""
        x = self.transformed(self.add(self.patches(), self.w("v.position_embd.weight")))
        x = self.shuffled(x, self.count("projector.scale_factor", 1))
        self.expand(self.mm(self.w("mm.model.fc.weight"), x))


class InternVl(Tower):
    """A token for the whole picture among the patches (tools/mtmd/models/internvl.cpp)."""

    def build(self) -> None:
        """Patches and one more, layers, and a projection of squares of patches."""
        self.rms = (self.n_embd, self.n_layer) == (3200, 45)  # the 6B tower
        self.n_tokens = self.n_patches + 1
        picture = self.repeat(self.w("v.class_embd"), self.n_embd, 1, 1)
        x = self.add(self.concat(self.patches(), picture, 1), self.w("v.position_embd.weight"))
        x = self.transformed(x)
        x = self.cont(self.view(x, (self.n_embd, self.n_patches, 1), x.nb[1:3]))
        x = self.shuffled(x, self.count("projector.scale_factor", 1))
        self.rms = False
        self.expand(self.mlp(self.norm(x, "mm.model.mlp.0"), "mm.model.mlp.1", "mm.model.mlp.3"))


class Pixtral(Tower):
    """Rotary positions by row and by column (tools/mtmd/models/pixtral.cpp)."""

    rms = True

    def image_side(self) -> int:
        """16 × 16 tokens, whatever the images."""
        return _PIXTRAL_SIDE * self.patch * self.merge()

    def merge(self) -> int:
        """Patches a side of a token."""
        return self.count("spatial_merge_size", 1)

    def rotated(self, x: Tensor) -> Tensor:
        """One half of a head by row, the other by column."""
        return self.rope(self.rope(x, self.rows), self.columns)

    def build(self) -> None:
        """Patches, layers, a projection, and breaks between rows."""
        self.rows, self.columns = (self.input(I32, self.n_patches) for _ in "hw")
        x = self.transformed(self.patches())
        if self.has("mm.patch_merger.weight"):
            x = self.merged(x)
        x = self.mlp(x, "mm.1", "mm.2")
        part = self.side // self.merge()
        x = self.reshape(x, x.ne[0], part, part)
        ends = self.scale(self.leaf(F32, x.ne[0], 1, part))
        x = self.concat(x, self.add(ends, self.w("v.token_embd.img_break")), 1)
        self.expand(self.view(x, (x.ne[0], part * part + part - 1)))

    def merged(self, x: Tensor) -> Tensor:
        """Squares of patches made one token each."""
        n, part = self.merge(), self.side // self.merge()
        x = self.mul(self.rms_norm(x), self.w("mm.input_norm.weight"))
        x = self.cont(self.permute(self.reshape(x, self.n_embd, self.side, self.side), 2, 0, 1, 3))
        kernel = self.view(x, (n, n, x.ne[2]), (0, 0))
        x = self.custom("im2col", F32, (n * n * self.n_embd, part, part, 1), kernel, x)
        return self.mm(self.w("mm.patch_merger.weight"), self.reshape(x, x.ne[0], part * part))


KINDS: Final[Mapping[str, type[Tower]]] = MappingProxyType({
    "qwen2vl_merger": Qwen2Vl, "qwen2.5vl_merger": Qwen25Vl, "qwen3vl_merger": Qwen3Vl, "gemma3": Gemma3,
    "idefics3": Idefics3, "internvl": InternVl, "pixtral": Pixtral,
})  # fmt: skip


def tower_buffers(
    tensors: Sequence[TensorInfo], keys: Mapping[str, Any], backends: Sequence[Backend], *, flash: bool = True
) -> list[int] | None:
    """Bytes of compute buffers in each back end (the host's is the last); None where the tower is not known.

    Flash attention that was not asked for goes off where a device does not run it.
    """
    kind = KINDS.get(str(keys.get("clip.vision.projector_type") or keys.get("clip.projector_type")))
    if kind is None or keys.get("clip.has_audio_encoder") is True:
        return None
    try:
        graph = kind(tensors, keys, flash=flash, buf=0)
        graph.build()
    except GraphUnknown:
        return None
    if len(backends) == 1:
        return list(measure(graph.leafs, graph.nodes, None, list(backends)))
    from inspector.memory.engines.llamacpp.graph.sched import place, sizes

    place(graph.leafs, graph.nodes, backends, op_offload=True)
    if flash and any(node.op == "flash_attn" and node.buf for node in graph.nodes):
        return tower_buffers(tensors, keys, backends, flash=False)
    graph = kind(tensors, keys, flash=flash, buf=0)
    graph.build()
    return list(sizes(graph.leafs, graph.nodes, backends, pipeline=False, op_offload=True))
