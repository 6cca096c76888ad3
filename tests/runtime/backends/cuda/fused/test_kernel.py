"""fused_decoder.cu on the CPU emulation, against NumPy models of it and against ONNX Runtime on the demo voice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from tacoglow.benchmarks.voices import demo_models
from tacoglow.export.graphs import Graph, build_graphs
from tacoglow.export.to_onnx import write_onnx
from tacoglow.models import Denoiser
from tacoglow.runtime.backends.cuda.fused.plan import GpuLimits, make_plan
from tacoglow.runtime.backends.cuda.fused.weights import read_weights
from tacoglow.runtime.noise import Noise
from tacoglow.tests import tolerances

from .cases import Case, errors, same
from .emulated import EmulatedDecoder, build
from .model import NVIDIA, ODD, SMALL, STATES, Array, Decoded, Encoded, decode, decode_scheduled, initial_state

EIGHT = [9, 150, 30, 1, 64, 65, 128, 129]
VARIANTS = pytest.mark.parametrize("grid_barriers", [False, True], ids=["tagged", "barrier"])
ROUNDED = tolerances.FUSED_SCHEDULE
HALF = tolerances.FUSED_FLOAT32


@VARIANTS
@pytest.mark.parametrize("dims", [SMALL, ODD], ids=["small", "odd"])
@pytest.mark.parametrize(
    "lengths",
    [[21], [40, 3, 17], pytest.param([9, 150, 30, 1, 64, 65, 128, 129], marks=pytest.mark.builds)],
    ids=["1", "3", "8"],
)
def test_agrees_with_the_model_of_its_schedule(dims: dict[str, int], lengths: list[int], grid_barriers: bool) -> None:
    if grid_barriers and (dims is ODD or len(lengths) == 1):
        pytest.skip("the variants share all but their waiting")
    case = Case.random(dims, lengths)
    made = case.decoder(grid_barriers).launch(case.dropout)
    found = errors(made, decode_scheduled(*case))
    assert max(found.values()) < ROUNDED, found
    assert max(errors(made, decode(*case)).values()) < HALF
    assert made.alignments[:, np.arange(max(lengths)) >= np.array(lengths)[:, None]].sum() == 0


def test_both_variants_compute_the_same_bits() -> None:
    case = Case.random()
    assert same(case.decoder(False).launch(case.dropout), case.decoder(True).launch(case.dropout))


@VARIANTS
def test_the_order_of_threads_changes_no_bit(grid_barriers: bool) -> None:
    case = Case.random()
    expected = case.decoder(grid_barriers).launch(case.dropout)
    for seed in range(1, 7):
        assert same(case.decoder(grid_barriers).launch(case.dropout, seed=seed), expected)


def test_an_item_is_what_it_is_alone() -> None:
    case = Case.random()
    together = case.decoder().launch(case.dropout).outputs
    for i in range(3):
        alone = case.item(i)
        for name, array in alone.decoder(plan=alone.plan()).launch(alone.dropout).outputs.items():
            assert np.array_equal(array, np.take(together[name], [i], axis=0 if name in STATES else 1)), name


@pytest.mark.parametrize(("warps", "blocks"), [(2, 16), (16, 3)])
def test_other_layouts(warps: int, blocks: int) -> None:
    case = Case.random()
    made = case.decoder(plan=case.plan(GpuLimits(blocks, 227 << 10), warps)).launch(case.dropout)
    assert max(errors(made, decode_scheduled(*case)).values()) < ROUNDED


def test_weights_that_do_not_fit_are_streamed() -> None:
    case = Case.random()
    plan = make_plan(case.weights, GpuLimits(8, 60 << 10), 3, 40, 4, held_registers=8)
    assert plan.streamed_bytes > 0
    assert same(case.decoder(plan=plan).launch(case.dropout), case.decoder().launch(case.dropout))


def test_energies_without_a_bound() -> None:
    case = Case.random()
    case.weights.energy[:] *= 120 / np.abs(case.weights.energy).sum()
    assert not case.plan().bounded_energies
    found = errors(case.decoder().launch(case.dropout), decode(*case))
    assert max(found.values()) < 5e-2, found  # energies four times as large as elsewhere


@pytest.mark.parametrize("dims", [SMALL, ODD], ids=["one block a step", "odd"])
def test_dropout_is_drawn_as_the_host_draws_it(dims: dict[str, int]) -> None:
    keys = [(5, 0), (2**64 - 1, 7), (0, 3 << 32)]
    first = 1000
    case = Case.random(dims)
    draws = [Noise(*key).prenet_dropout(first, 6, 2, dims["PRENET"]) for key in keys]
    decoders = [
        EmulatedDecoder(build(case.plan()), case.plan(), case.weights, case.encoded, case.state, keys) for _ in range(2)
    ]
    drawn = decoders[0].launch(6, first)
    assert same(drawn, decoders[1].launch(np.stack(draws, 1), first))
    assert not same(drawn, case.decoder().launch(case.dropout, first))


@VARIANTS
def test_launches_continue_each_other_to_the_bit(grid_barriers: bool) -> None:
    case = Case.random()
    whole = case.decoder(grid_barriers).launch(case.dropout)
    decoder = case.decoder(grid_barriers)
    parts = [decoder.launch(case.dropout[first:end], first, seed=first) for first, end in ((0, 3), (3, 4), (4, 6))]
    for name in ("mel", "gate_logits", "alignments"):
        assert np.array_equal(np.concatenate([part.outputs[name] for part in parts]), whole.outputs[name]), name
    assert all(np.array_equal(decoder.state[name], whole.state[name]) for name in STATES)


def test_stops_when_every_gate_has_fired() -> None:
    case = Case.random()
    whole = case.decoder().launch(case.dropout, 100)
    threshold = float(np.sort(whole.gate_logits.max(1))[1])  # between steps, so that items stop at different ones
    fired = [int(np.argmax(logits > threshold)) if (logits > threshold).any() else -1 for logits in whole.gate_logits.T]
    decoder = case.decoder()
    decoder.launch(case.dropout, 100, threshold)
    assert decoder.progress[1:].tolist() == [100 + step if step >= 0 else -1 for step in fired]
    decoder = case.decoder()
    made = decoder.launch(case.dropout, 100, -1e30)  # fires at once: one step more is under way
    assert decoder.progress.tolist() == [2, 100, 100, 100]
    assert np.array_equal(made.mel[:2], whole.mel[:2])
    assert np.isnan(made.mel[2:]).all()
    kept = {name: array.copy() for name, array in decoder.state.items()}
    decoder.launch(case.dropout, 102)
    assert decoder.progress[0] == 0
    assert all(np.array_equal(kept[name], array) for name, array in decoder.state.items())


# ---- The demo voice -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo_graphs(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Path], Graph]:
    """The encoder and the decoder step of the demo voice, by name and precision; and what the step's tensors are."""
    folder, models, paths = tmp_path_factory.mktemp("demo_graphs"), demo_models(), {}
    for precision in ("fp32", "fp16"):
        graphs = build_graphs(models.tacotron2, models.vocoder, Denoiser(models.vocoder), precision)
        for graph in graphs[:2]:
            paths[f"{graph.name}-{precision}"] = folder / f"{graph.name}-{precision}.onnx"
            write_onnx(graph, paths[f"{graph.name}-{precision}"], precision)
    return paths, graphs[1]


def session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def onnx_decode(path: Path, encoded: Encoded, mask: Array, dropout: Array, state: dict[str, Array]) -> Decoded:
    step = session(path)
    names = [output.name for output in step.get_outputs()]
    fixed = {"memory": encoded.memory, "processed_memory": encoded.processed_memory, "memory_mask": mask}
    frame = np.zeros(step.get_inputs()[0].shape[1:], np.float32)[None].repeat(len(mask), 0)
    s, steps = dict(state), []
    for factors in dropout:
        feeds = {**fixed, **s, "decoder_input": frame, "prenet_dropout": factors}
        made = dict(zip(names, step.run(None, feeds), strict=True))
        s, frame = {name: made[f"{name}_out"] for name in STATES}, made["mel_frame"]
        steps.append((frame, made["gate_logit"][:, 0], made["attention_weights_out"]))
    mel, gate_logits, alignments = (np.stack(arrays) for arrays in zip(*steps, strict=True))
    return Decoded(mel, gate_logits, alignments, s)


@pytest.mark.parametrize("lengths", [pytest.param([24], marks=pytest.mark.builds), [24, 9, 17]], ids=["1", "3"])
def test_the_demo_voice_against_onnx_runtime(demo_graphs: tuple[dict[str, Path], Graph], lengths: list[int]) -> None:
    """30 steps of float32. The loop amplifies a half that is rounded otherwise, so norms are compared, not maxima."""
    paths, graph = demo_graphs
    batch, tokens, steps = len(lengths), max(lengths), 30
    weights = read_weights(onnx.load(paths["decoder_step-fp16"]), {t.name: t for t in (*graph.inputs, *graph.outputs)})
    ids = np.random.default_rng(1).integers(38, 64, (batch, tokens)).astype(np.int32)  # lower-case letters
    feeds = {"token_ids": ids, "token_lengths": np.array(lengths, np.int32)}
    memory, processed, mask = session(paths["encoder-fp32"]).run(None, feeds)
    encoded = Encoded(memory, processed, np.array(lengths, np.int32))
    state = initial_state(weights.dims, batch, tokens)
    noises = [Noise(seed) for seed in range(batch)]
    dropout = np.stack([noise.prenet_dropout(0, steps, 2, weights.dims["PRENET"]) for noise in noises], 1)

    plan = make_plan(weights, GpuLimits(8, 227 << 10), batch, tokens, 4)
    keys = [noise.key for noise in noises]
    made = EmulatedDecoder(build(plan, optimize="-O2"), plan, weights, encoded, state, keys).launch(steps)
    exact = onnx_decode(paths["decoder_step-fp32"], encoded, mask, dropout, state)
    scheduled = decode_scheduled(weights, encoded, dropout, state)
    for name, array in exact.outputs.items():
        size = float(np.linalg.norm(array))
        error, rounding = (float(np.linalg.norm(each.outputs[name] - array)) / size for each in (made, scheduled))
        # An attention that sees one token rounds to almost nothing, which says nothing of the next one.
        allowed = max(tolerances.FUSED_DEMO, tolerances.FUSED_TIMES_ROUNDING * rounding if name in STATES else 0.0)
        assert error < allowed, (name, error, rounding)
    assert (
        max(errors(decode(weights, encoded, dropout, state), exact).values()) < 1e-3
    )  # the NumPy model is the graph's


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 3])
def test_nvidia_dimensions_on_an_h100s_layout(batch: int) -> None:
    """65,536 threads; 3 GB of memory."""
    case = Case.random(NVIDIA, [50, 130, 7][:batch], 3)
    plan = make_plan(case.weights, GpuLimits(132, 227 << 10), batch, 256)
    found = errors(case.decoder(plan=plan).launch(case.dropout), decode_scheduled(*case))
    assert max(found.values()) < ROUNDED, found
