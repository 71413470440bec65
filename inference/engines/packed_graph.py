"""An ONNX graph of a BERT-like classifier that computes no padding, written from a checkpoint's weights.

The texts of a batch form a single row of tokens, one behind the other. A bias keeps each token from attending to other
texts. The cost of attention grows with the square of the row's length; for a few short texts that is still less than
padding all of them to the longest one. In the last layer only the first token of each text is computed, since the
others are not used.

Inputs (B texts of T tokens in all): ``ids`` and ``positions`` [T], ``first`` [B] (the first token of each text),
``bias`` [1, T, T] (added to the attention of a token to another: 0 within a text, a large negative number between
texts). Output: ``logits`` [B, labels].

Linear layers hold their weights as 8-bit integers, symmetric for each output column. They turn their activations into
8-bit integers by the range in the batch (ONNX Runtime's ``DynamicQuantizeMatMul``). Layers named by ``in_fp32`` do
neither.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

MICROSOFT = "com.microsoft"
"""The domain of ONNX Runtime's fused operators."""

LARGEST_WEIGHT = 63
"""The largest integer for a weight: seven of the eight bits. A processor without VNNI adds two products at a time as
16-bit numbers. Two products of the largest activation (255) and this weight are 32,130, which is less than 32,767, so
all processors compute the same sums. The eighth bit would gain less than the 8-bit activations lose.
"""

LINEARS = ("qkv", "attention_out", "ffn_in", "ffn_out")
"""The linear layers of each block, as ``in_fp32`` names them."""

Array = NDArray[Any]


@dataclass(frozen=True)
class Names:
    """The names of an architecture's weights and settings. ``{}`` is the number of the block."""

    embeddings: str
    block: str
    query: str
    key: str
    value: str
    attention_out: str
    attention_norm: str
    ffn_in: str
    ffn_out: str
    ffn_norm: str
    pooler: str
    pooler_activation: str
    depth: str
    heads: str
    activation: str


ARCHITECTURES = {
    "DistilBertForSequenceClassification": Names(
        embeddings="distilbert.embeddings.",
        block="distilbert.transformer.layer.{}.",
        query="attention.q_lin",
        key="attention.k_lin",
        value="attention.v_lin",
        attention_out="attention.out_lin",
        attention_norm="sa_layer_norm",
        ffn_in="ffn.lin1",
        ffn_out="ffn.lin2",
        ffn_norm="output_layer_norm",
        pooler="pre_classifier",
        pooler_activation="Relu",
        depth="n_layers",
        heads="n_heads",
        activation="activation",
    ),
    "BertForSequenceClassification": Names(
        embeddings="bert.embeddings.",
        block="bert.encoder.layer.{}.",
        query="attention.self.query",
        key="attention.self.key",
        value="attention.self.value",
        attention_out="attention.output.dense",
        attention_norm="attention.output.LayerNorm",
        ffn_in="intermediate.dense",
        ffn_out="output.dense",
        ffn_norm="output.LayerNorm",
        pooler="bert.pooler.dense",
        pooler_activation="Tanh",
        depth="num_hidden_layers",
        heads="num_attention_heads",
        activation="hidden_act",
    ),
}


def why_not(config: Mapping[str, Any]) -> str | None:
    """Why no packed graph can be made for a checkpoint with this ``config.json``; None if one can."""
    architecture = (config.get("architectures") or ["unknown"])[0]
    names = ARCHITECTURES.get(architecture)
    if names is None:
        return f"the packed graph knows {' and '.join(ARCHITECTURES)}, not {architecture}"
    if config.get(names.activation) != "gelu":
        return f"the packed graph knows the activation gelu, not {config.get(names.activation)}"
    if config.get("position_embedding_type", "absolute") != "absolute":
        return f"the packed graph knows absolute positions, not {config['position_embedding_type']}"
    return None


def write_graph(
    config: Mapping[str, Any], weights: Mapping[str, Array], path: Path, in_fp32: Collection[str] = ()
) -> None:
    """Write the graph to ``path``, and its large weights to a file beside it, which is mapped into memory when loaded.

    ``weights`` are the checkpoint's, by transformers' names. ``in_fp32`` names the LINEARS that are not quantized.
    """
    graph = _Graph(in_fp32)
    _Bert(config, weights, graph).add()
    model = helper.make_model(
        graph.finished(),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid(MICROSOFT, 1)],
        ir_version=9,
        producer_name="fourfold",
    )
    data = path.with_suffix(".weights")
    data.unlink(missing_ok=True)  # onnx appends
    onnx.save(model, path, save_as_external_data=True, location=data.name, size_threshold=4096)


class _Graph:
    """The nodes and constants that were added so far."""

    def __init__(self, in_fp32: Collection[str]) -> None:
        self._in_fp32 = in_fp32
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def constant(self, value: Array) -> str:
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, kind: str, *inputs: str, domain: str = "", outputs: int = 1, **attributes: Any) -> Any:
        """Add an operator; the name of its output, or a list of names if it has several outputs."""
        names = [f"{kind}_{len(self._nodes)}_{number}" for number in range(outputs)]
        self._nodes.append(helper.make_node(kind, list(inputs), names, domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def linear(self, kind: str, x: str, weight: Array, bias: Array) -> str:
        """``x`` times the transpose of ``weight`` [out, in] plus ``bias``."""
        if kind in self._in_fp32:
            return str(self.node("Add", self.node("MatMul", x, self.constant(weight.T)), self.constant(bias)))
        scale = np.maximum(np.abs(weight).max(axis=1), 1e-12) / LARGEST_WEIGHT
        whole = np.rint(weight / scale[:, None]).astype(np.int8)
        inputs = (self.constant(whole.T), self.constant(scale.astype(np.float32)), "", self.constant(bias))
        return str(self.node("DynamicQuantizeMatMul", x, *inputs, domain=MICROSOFT))

    def finished(self) -> onnx.GraphProto:
        def ints(name: str, shape: str) -> onnx.ValueInfoProto:
            return helper.make_tensor_value_info(name, TensorProto.INT64, (shape,))

        inputs = [ints("ids", "T"), ints("positions", "T"), ints("first", "B")]
        inputs.append(helper.make_tensor_value_info("bias", TensorProto.FLOAT, (1, "T", "T")))
        self._nodes[-1].output[0] = "logits"
        logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ("B", "labels"))
        return helper.make_graph(self._nodes, "packed", inputs, [logits], self._constants)


class _Bert:
    """DistilBERT or BERT, block by block."""

    def __init__(self, config: Mapping[str, Any], weights: Mapping[str, Array], graph: _Graph) -> None:
        self._names = ARCHITECTURES[config["architectures"][0]]
        self._depth, self._heads = int(config[self._names.depth]), int(config[self._names.heads])
        self._epsilon = float(config.get("layer_norm_eps", 1e-12))
        self._weights = weights
        self._graph = graph

    def add(self) -> None:
        graph, names = self._graph, self._names
        hidden = self._embedded()
        for number in range(self._depth):
            hidden = self._block(hidden, names.block.format(number), last=number == self._depth - 1)
        pooled = graph.node(names.pooler_activation, self._in_fp32(hidden, names.pooler))
        self._in_fp32(pooled, "classifier")

    def _embedded(self) -> str:
        graph, at = self._graph, self._names.embeddings
        positions = self._weights[f"{at}position_embeddings.weight"]
        if f"{at}token_type_embeddings.weight" in self._weights:
            positions = (
                positions + self._weights[f"{at}token_type_embeddings.weight"][0]
            )  # a single text is all of type 0
        words = graph.node("Gather", graph.constant(self._weights[f"{at}word_embeddings.weight"]), "ids")
        return self._normed(words, graph.node("Gather", graph.constant(positions), "positions"), f"{at}LayerNorm")

    def _block(self, hidden: str, at: str, *, last: bool) -> str:
        graph, names = self._graph, self._names
        attended = self._attended(hidden, at, first_only=last)
        if last:
            hidden = graph.node("Gather", hidden, "first")
        out = self._linear("attention_out", attended, f"{at}{names.attention_out}")
        hidden = self._normed(out, hidden, f"{at}{names.attention_norm}")
        inner = self._linear("ffn_in", hidden, f"{at}{names.ffn_in}")
        inner = graph.node("Gelu", inner, domain=MICROSOFT)
        out = self._linear("ffn_out", inner, f"{at}{names.ffn_out}")
        return self._normed(out, hidden, f"{at}{names.ffn_norm}")

    def _attended(self, hidden: str, at: str, *, first_only: bool) -> str:
        """The attention of each token to its text. ``first_only``: only for the first token of each text."""
        graph = self._graph
        parts = [self._parts(f"{at}{name}") for name in (self._names.query, self._names.key, self._names.value)]
        width = parts[0][0].shape[0]
        query, bias = [], "bias"
        if first_only:
            firsts = graph.linear("qkv", graph.node("Gather", hidden, "first"), *parts.pop(0))
            query, bias = self._by_head(firsts, width, 1), graph.node("Gather", "bias", "first", axis=1)
        weight, more = (np.concatenate(some) for some in zip(*parts, strict=True))
        q, k, v = query + self._by_head(graph.linear("qkv", hidden, weight, more), width, len(parts))
        size = width // self._heads
        scores = graph.node("FusedMatMul", q, k, domain=MICROSOFT, transB=1, alpha=size**-0.5)
        shares = graph.node("Softmax", graph.node("Add", scores, bias), axis=-1)
        attended = graph.node("Transpose", graph.node("MatMul", shares, v), perm=[1, 0, 2])  # [T or B, heads, size]
        return str(graph.node("Reshape", attended, graph.constant(np.array([-1, width]))))

    def _by_head(self, x: str, width: int, count: int) -> list[str]:
        """``x`` [T, count times width], split into ``count`` arrays [heads, T, size]."""
        graph = self._graph
        shape = graph.constant(np.array([0, count * self._heads, width // self._heads]))
        heads = graph.node("Transpose", graph.node("Reshape", x, shape), perm=[1, 0, 2])
        if count == 1:
            return [heads]
        sizes = graph.constant(np.full(count, self._heads))
        return list(graph.node("Split", heads, sizes, outputs=count, axis=0))

    def _parts(self, name: str) -> tuple[Array, Array]:
        return self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]

    def _linear(self, kind: str, x: str, name: str) -> str:
        return self._graph.linear(kind, x, *self._parts(name))

    def _in_fp32(self, x: str, name: str) -> str:
        """A layer of the classification head. Each text passes it only once, so 8 bits would gain nothing."""
        weight, bias = self._parts(name)
        return str(self._graph.node("Gemm", x, self._graph.constant(weight), self._graph.constant(bias), transB=1))

    def _normed(self, x: str, skip: str, name: str) -> str:
        # In two operators: the fused SkipLayerNormalization took six times as long (ONNX Runtime 1.32, AVX-512).
        gamma, beta = (self._graph.constant(part) for part in self._parts(name))
        total = self._graph.node("Add", x, skip)
        return str(self._graph.node("LayerNormalization", total, gamma, beta, axis=-1, epsilon=self._epsilon))
