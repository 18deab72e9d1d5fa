"""Configuration files: what a contract of each says, with numbers worked out by hand, and what each asks for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lrwatch.contract import load
from lrwatch.curve import Curve
from lrwatch.errors import ContractError
from lrwatch.importers import import_contract, importers
from lrwatch.importers.base import Options

TRAINER = {
    "output_dir": "runs/gpt-small", "run_name": None, "per_device_train_batch_size": 8, "num_train_epochs": 3.0,
    "max_steps": -1, "learning_rate": 4e-4, "lr_scheduler_type": "cosine", "lr_scheduler_kwargs": None,
    "warmup_steps": 0.25, "gradient_accumulation_steps": 4, "dataloader_drop_last": False, "deepspeed": None,
}  # fmt: skip
STATE = {"max_steps": 1000, "global_step": 1000, "num_train_epochs": 3, "train_batch_size": 8, "log_history": []}
DEEPSPEED = {
    "train_batch_size": 64, "gradient_accumulation_steps": 2, "zero_optimization": {"stage": 2},
    "optimizer": {"type": "AdamW", "params": {"lr": 1e-3}},
    "scheduler": {"type": "WarmupDecayLR", "params": {
        "warmup_min_lr": 0, "warmup_max_lr": 1e-3, "warmup_num_steps": 4, "warmup_type": "linear",
        "total_num_steps": 8}},
}  # fmt: skip
MEGATRON = """\
#!/bin/bash
# Pretrains it's "345M" model
GBS=512
TRAINING_ARGS=(
    --micro-batch-size 1
    --global-batch-size $GBS
    --train-iters 1000
    --weight-decay 0.1
    --lr 4.0e-5
    --lr-decay-style cosine
    --min-lr 0
    --lr-warmup-fraction .1
)
torchrun pretrain_gpt.py ${TRAINING_ARGS[@]} ${MODEL_ARGS[@]}
"""
PRINTED = """\
using world size: 8, data-parallel size: 8
------------------------ arguments ------------------------
  global_batch_size ............................... 16
  lr .............................................. 0.001
  lr_decay_iters .................................. None
  lr_decay_samples ................................ None
  lr_decay_style .................................. inverse-square-root
  lr_warmup_fraction .............................. None
  lr_warmup_samples ............................... 400
  min_lr .......................................... 0.0
  rampup_batch_size ............................... ['4', '4', '120']
  train_iters ..................................... None
  train_samples ................................... 10000
  start_weight_decay .............................. 0.0
  end_weight_decay ................................ 0.1
  weight_decay_incr_style ......................... linear
"""
TIMM = """\
experiment: ''
opt: adamw
lr: null
lr_base: 0.1
lr_base_size: 256
lr_base_scale: ''
batch_size: 128
grad_accum_steps: 1
sched: cosine
sched_on_updates: false
epochs: 10
warmup_epochs: 2
warmup_lr: 1.0e-05
warmup_prefix: false
cooldown_epochs: 3
decay_rate: 0.1
decay_epochs: 90
decay_milestones: [4, 8]
min_lr: 0
lr_cycle_mul: 1.0
lr_cycle_decay: 0.5
lr_cycle_limit: 1
lr_k_decay: 1.0
"""
KERAS = {
    "module": "keras.optimizers", "class_name": "AdamW", "registered_name": "AdamW",
    "config": {"name": "adamw", "gradient_accumulation_steps": None, "learning_rate": {
        "module": "keras.optimizers.schedules", "class_name": "CosineDecay", "registered_name": None, "config": {
            "initial_learning_rate": 0.0, "decay_steps": 8, "alpha": 0.5, "name": "CosineDecay",
            "warmup_target": 0.02, "warmup_steps": 4}}},
}  # fmt: skip
LIGHTNING = """\
trainer:
  max_epochs: 10
  max_steps: -1
  accumulate_grad_batches: 2
model:
  class_path: mine.Model
optimizer:
  class_path: torch.optim.SGD
  init_args:
    lr: 0.4
lr_scheduler:
  class_path: torch.optim.lr_scheduler.MultiStepLR
  init_args:
    milestones: [4, 8]
    gamma: 0.5
    last_epoch: -1
"""
TITAN = """\
[job]
description = "llama3 debug"
[training]
steps = 10
[optimizer]
lr = 8e-4
[lr_scheduler]
warmup_steps = 2
decay_ratio = 0.4
min_lr_factor = 0.5
[parallelism]
tensor_parallel_degree = 1
"""
FOUNDRY = """\
run_name: mpt-125m
max_duration: 2ep
scheduler:
  name: cosine_with_warmup
  t_warmup: 0.1dur
  alpha_f: 0.1
optimizer:
  name: decoupled_adamw
  lr: 6.0e-4
global_train_batch_size: 256
"""
NANO = """\
# comments, imports and code are not looked at
import os
wandb_run_name = 'gpt2-124M'
batch_size = 12
gradient_accumulation_steps = 5 * 8
max_iters = 600
lr_decay_iters = max_iters - 100
learning_rate = 6e-4
min_lr = learning_rate / 10
warmup_iters = 99
os.system("touch executed")
"""


def text(content: Any) -> str:
    return content if isinstance(content, str) else json.dumps(content)


def changed(content: Any, **changes: Any) -> Any:
    """A JSON file with other values; ``None`` leaves a key out."""
    tree = {**content, **changes}
    return {key: value for key, value in tree.items() if value is not None or content.get(key, 0) is None}


CASES = [
    # 1000 samples in batches of 8: 125, of two processes: 63, accumulated 4 times: 16; 3 epochs: 48, a quarter warm-up
    ("trainer", "args.json", TRAINER, Options(dataset_size=1000, world_size=2), "huggingface",
     {"clock.horizon": 48, "batch.steps_per_epoch": 16, "batch.accumulate": 4, "experiment": "gpt-small"},
     {0: 0, 6: 2e-4, 12: 4e-4, 24: 3e-4, 30: 2e-4, 48: 0, 66: 2e-4}),
    # dropping what is left over: 125 // 2 = 62 batches, still 16 updates
    ("trainer drops the last", "args.json", changed(TRAINER, dataloader_drop_last=True, gradient_accumulation_steps=31),
     Options(dataset_size=1007, world_size=2), "huggingface", {"batch.steps_per_epoch": 2, "clock.horizon": 6}, {}),
    ("trainer, YAML, max_steps", "args.yaml", "learning_rate: 4e-4\nlr_scheduler_type: linear\nmax_steps: 100\n"
     "warmup_steps: 20\nrun_name: mine\n", Options(), "huggingface", {"clock.horizon": 100, "experiment": "mine"},
     {0: 0, 10: 2e-4, 20: 4e-4, 60: 2e-4, 100: 0, 200: 0}),
    ("trainer, older, with its own arguments", "args.json",
     changed(TRAINER, max_steps=100, warmup_steps=0, warmup_ratio=0.1, lr_scheduler_type="warmup_stable_decay",
             lr_scheduler_kwargs={"num_decay_steps": 40, "decay_type": "linear", "min_lr_ratio": 0.1}),
     Options(), "huggingface", {"clock.horizon": 100}, {0: 4e-5, 10: 4e-4, 60: 4e-4, 80: 2.2e-4, 100: 4e-5}),
    ("trainer, plateau", "args.json", changed(TRAINER, max_steps=100, lr_scheduler_type="reduce_lr_on_plateau",
                                              metric_for_best_model="loss"),
     Options(), "huggingface", {"lr.schedule.0.plateau.metric": "eval_loss"}, {0: 4e-4}),
    ("state", "trainer_state.json", STATE, Options(lr=2e-5, scheduler="cosine_with_min_lr", warmup=100,
                                                   values={"lr_scheduler_kwargs.min_lr": 1e-5}),
     "huggingface", {"clock.horizon": 1000}, {50: 1e-5, 100: 2e-5, 550: 1.5e-5, 1000: 1e-5}),
    # one update late: i = t - 1
    ("deepspeed", "ds_config.json", DEEPSPEED, Options(), "deepspeed",
     {"clock.horizon": 8, "batch.global": 64, "batch.accumulate": 2, "experiment": ""},
     {0: 0, 1: 0, 3: 5e-4, 5: 1e-3, 6: 7.5e-4, 9: 0, 20: 0}),
    ("deepspeed, auto", "ds_config.json",
     {**DEEPSPEED, "scheduler": {"type": "WarmupLR", "params": {"warmup_min_lr": "auto", "warmup_max_lr": "auto",
                                                                "warmup_num_steps": "auto"}}},
     Options(lr=3e-4, warmup=16, values={"scheduler.params.warmup_min_lr": 0}), "deepspeed", {},
     {1: 0, 2: 7.5e-5, 4: 1.5e-4, 16: 3e-4, 99: 3e-4}),  # ln(i + 1)/ln 16 at i = t - 1
    ("deepspeed, cycle", "ds_config.json",
     {**DEEPSPEED, "scheduler": {"type": "OneCycle", "params": {
         "cycle_min_lr": 1e-4, "cycle_max_lr": 1e-3, "cycle_first_step_size": 9, "cycle_momentum": True}}},
     Options(), "deepspeed", {"momentum.base": 0.9}, {0: 1e-4, 9: 1e-3, 17: 2e-4, 18: 1e-4, 50: 1e-4}),
    ("megatron", "train.sh", MEGATRON, Options(), "megatron",
     {"clock.axis": "update", "clock.horizon": 1000, "batch.global": 512, "weight_decay.base": 0.1},
     {0: 0, 50: 2e-5, 100: 4e-5, 550: 2e-5, 1000: 0}),
    # 4, 8, 12, 16 samples an update from sample 0, 40, 80, 120 on
    ("megatron, printed, ramp", "log.txt", PRINTED, Options(), "megatron",
     {"clock.axis": "sample", "clock.horizon": 10000, "batch.ramp": [[0, 4], [40, 8], [80, 12], [120, 16]]},
     {0: 0, 200: 5e-4, 400: 1e-3, 1600: 5e-4, 10000: 2e-4, 10001: 0}),
    # lr_base 0.1 times the square root of 1024/256
    ("timm", "args.yaml", TIMM, Options(world_size=8), "timm",
     {"clock.axis": "epoch", "clock.horizon": 13}, {0: 1e-5, 1: 0.100005, 5: 0.1, 10: 0, 12: 0}),
    ("timm, on updates", "args.yaml", TIMM.replace("sched_on_updates: false", "sched_on_updates: true")
     .replace("lr: null", "lr: 0.2"), Options(steps_per_epoch=100), "timm",
     {"clock.axis": "update", "clock.horizon": 1300}, {0: 1e-5, 100: 0.100005, 500: 0.1, 1000: 0}),
    ("timm, steps", "args.yaml", TIMM.replace("sched: cosine", "sched: multistep").replace("lr: null", "lr: 0.2"),
     Options(), "timm", {"clock.horizon": 10}, {0: 1e-5, 2: 0.2, 3: 0.02, 6: 0.02, 7: 0.002}),
    ("timm, wsd", "args.yaml", TIMM.replace("sched: cosine", "sched: wsd").replace("lr: null", "lr: 0.2")
     .replace("decay_epochs: 90", "decay_epochs: 0.5"), Options(), "timm", {"clock.horizon": 13},
     {2: 0.2, 6: 0.2, 7: 0.1, 10: 0}),  # 8 epochs after the warm-up, the last 4 decay: 1 - √(1/4)
    ("keras optimizer", "config.json", KERAS, Options(steps=12), "keras", {"clock.horizon": 12, "lr.dtype": "float32"},
     {0: 0, 2: 0.01, 4: 0.02, 8: 0.015, 12: 0.01, 50: 0.01}),
    # 2 micro-batches an update: updates 0, 1, 2, 3 stand at iterations 1, 3, 5, 7; t counts 2 an update
    ("keras, accumulated", "config.json",
     {**KERAS, "config": {**KERAS["config"], "gradient_accumulation_steps": 2}}, Options(), "keras", {"clock.ticks": 2},
     {0: 0.005, 2: 0.015, 7: 0.015, 11: 0.01}),
    ("keras schedule alone", "config.json", {"boundaries": [10, 20], "values": [0.1, 0.05, 0.01],
                                             "name": "PiecewiseConstant"}, Options(), "keras", {},
     {0: 0.1, 10: 0.1, 11: 0.05, 20: 0.05, 21: 0.01}),
    ("lightning", "config.yaml", LIGHTNING, Options(stepped="epoch"), "lightning",
     {"clock.axis": "epoch", "clock.horizon": 10, "batch.accumulate": 2}, {0: 0.4, 3: 0.4, 4: 0.2, 8: 0.1}),
    ("lightning, per update", "config.yaml", LIGHTNING, Options(stepped="attempt", steps_per_epoch=50), "lightning",
     {"clock.axis": "update", "clock.counts": "attempted", "clock.horizon": 500}, {4: 0.2}),
    # one step ahead: W = 2, 5 stable ones, 4 down to half
    ("torchtitan", "train.toml", TITAN, Options(), "torchtitan", {"clock.horizon": 10, "experiment": "llama3 debug"},
     {0: 4e-4, 1: 8e-4, 6: 8e-4, 7: 7e-4, 9: 5e-4, 10: 4e-4}),
    ("composer", "train.yaml", FOUNDRY, Options(steps_per_epoch=500), "composer",
     {"clock.axis": "update", "clock.horizon": 1000, "batch.global": 256, "experiment": "mpt-125m"},
     {0: 0, 50: 3e-4, 100: 6e-4, 550: 3.3e-4, 1000: 6e-5}),
    ("composer, set", "train.yaml", FOUNDRY, Options(values={"scheduler.t_warmup": "500ba", "max_duration": "900ba"}),
     "composer", {"clock.horizon": 900}, {250: 3e-4, 500: 6e-4, 700: 3.3e-4, 900: 6e-5}),
    ("composer, tokens", "train.yaml", FOUNDRY.replace("2ep", "1e6tok").replace("0.1dur", "200_000tok"), Options(),
     "composer", {"clock.axis": "token", "clock.horizon": 1000000}, {100000: 3e-4, 200000: 6e-4, 600000: 3.3e-4}),
    # min_lr = 6e-5; the last iter_num is max_iters
    ("nanogpt", "config.py", NANO, Options(values={"warmup_form": "(t+1) / (W+1)"}), "nanogpt",
     {"clock.horizon": 601, "experiment": "gpt2-124M"}, {0: 6e-6, 49: 3e-4, 99: 6e-4, 500: 6e-5, 600: 6e-5}),
    ("nanogpt, get_lr says", "train.py", NANO + "def get_lr(it):\n    if it < warmup_iters:\n"
     "        return learning_rate * it / warmup_iters\n", Options(values={"warmup_iters": 100}), "nanogpt", {},
     {0: 0, 50: 3e-4, 100: 6e-4, 300: 3.3e-4}),
    ("by name", "fairseq.inverse_sqrt", None, Options(lr=5e-4, steps=10000, values={"warmup_updates": 4000}),
     "schedule", {"clock.horizon": 10000}, {0: 0, 2000: 2.5e-4, 4000: 5e-4, 16000: 2.5e-4}),
    ("by name, per epoch", "nemo.WarmupAnnealing", None,
     Options(stepped="epoch", values={"lr": 0.1, "max_steps": 11, "warmup_steps": 1}), "schedule",
     {"clock.axis": "epoch"}, {0: 0.05, 1: 0.1, 6: 0.05, 11: 0, 12: 0}),
]  # fmt: skip


def at(document: Any, path: str) -> Any:
    for key in path.split("."):
        document = document[int(key)] if isinstance(document, list) else document.get(key)
        if document is None:
            return None
    return document


@pytest.mark.parametrize(("name", "file", "content", "options", "framework", "expected", "points"), CASES,
                         ids=[case[0] for case in CASES])  # fmt: skip
def test_a_configuration(
    name: str, file: str, content: Any, options: Options, framework: str, expected: Any, points: Any,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path(file).write_text(text(content))
    imported = import_contract(file, None, options)
    assert import_contract(file, framework, options) == imported
    Path("contract.yaml").write_text(imported.yaml())
    contract = load("contract.yaml")
    assert contract.document == imported.contract().document
    assert imported.yaml().startswith(f"# Imported from {file}")
    assert {path: at(contract.document, path) for path in expected} == expected
    values = Curve(contract).at(np.array([float(t) for t in points]))
    assert values == pytest.approx(list(points.values()), rel=1e-12, abs=1e-18)
    assert not Path("executed").exists()


@pytest.mark.parametrize(
    ("kind", "params", "lr", "base"),
    [
        ("WarmupDecayLR", {}, None, "0.001  # DeepSpeed's default of scheduler.params.warmup_max_lr"),
        ("WarmupDecayLR", {"warmup_max_lr": 2e-4}, 9.0, "0.0002  # scheduler.params.warmup_max_lr"),
        ("WarmupDecayLR", {"warmup_max_lr": "auto"}, 5e-4, "0.0005  # --lr"),
        ("WarmupLR", {}, None, "0.0003  # optimizer.params.lr"),
        ("WarmupCosineLR", {}, None, "0.0003  # optimizer.params.lr"),
    ],
)
def test_deepspeed_says_where_the_base_comes_from(
    kind: str, params: dict[str, Any], lr: float | None, base: str, tmp_path: Path
) -> None:
    params = {"total_num_steps": 100, "warmup_num_steps": 10, **params}
    scheduler = {"type": kind, "params": params}
    config = {"optimizer": {"params": {"lr": 3e-4}}, "scheduler": scheduler, "train_batch_size": 8}
    if kind == "WarmupLR":
        del params["total_num_steps"]
    (tmp_path / "ds.json").write_text(json.dumps(config))
    assert f"  base: {base}\n" in import_contract(str(tmp_path / "ds.json"), None, Options(lr=lr)).yaml()


REFUSED = [
    ("args.json", TRAINER, Options(), "args.json: num_train_epochs 3 is a number of updates only with the size of the "
                                      "training set; pass --dataset-size N"),
    ("args.json", TRAINER, Options(dataset_size=10), "args.json: num_train_epochs 3 is a number of updates only with "
                                                     "the number of processes; pass --world-size N"),
    ("args.json", changed(TRAINER, deepspeed="ds.json", max_steps=5), Options(),
     "args.json: deepspeed: names a DeepSpeed configuration, whose scheduler would replace the Trainer's; import that "
     "one, or pass --set deepspeed=none if it has none"),
    ("args.json", changed(TRAINER, lr_scheduler_type="greedy", max_steps=5), Options(),
     "args.json: lr_scheduler_type: is 'greedy', which no contract can promise"),
    ("args.json", changed(TRAINER, lr_scheduler_type="cosine_with_min_lr", max_steps=5), Options(),
     "transformers: min_lr: give exactly one of min_lr and min_lr_rate"),
    ("trainer_state.json", STATE, Options(), "trainer_state.json: learning_rate is not there, and its default differs "
                                             "between trainers; pass --lr"),
    ("trainer_state.json", STATE, Options(lr=1e-3), "trainer_state.json: the state of a Trainer does not say which "
                                                    "schedule it follows; pass --scheduler"),
    ("trainer_state.json", STATE, Options(lr=1e-3, scheduler="cosine"),
     "trainer_state.json: the length of the warm-up is not there; pass --warmup N"),
    ("ds.json", {**DEEPSPEED, "scheduler": {"type": "WarmupLR", "params": {"warmup_max_lr": "auto"}}}, Options(),
     'ds.json: scheduler.params.warmup_max_lr: is "auto", which the Trainer replaces by its learning_rate when it '
     "starts; import the Trainer's arguments, or say it here; pass --lr"),
    ("ds.json", {**DEEPSPEED, "scheduler": {"type": "WarmupDecayLR", "params": {"total_num_steps": "auto"}}}, Options(),
     'ds.json: scheduler.params.total_num_steps: is "auto", which the Trainer replaces by its number of updates when '
     "it starts; import the Trainer's arguments, or say it here; pass --steps"),
    ("ds.json", changed(DEEPSPEED, scheduler={}), Options(),
     "ds.json: scheduler: has no scheduler: the trainer brings its own, so import from there (for the Trainer: its "
     "arguments)"),
    ("ds.json", {**DEEPSPEED, "scheduler": {"type": "Cosine"}}, Options(),
     "ds.json: scheduler.type: must be one of WarmupLR, WarmupDecayLR, WarmupCosineLR, LRRangeTest, OneCycle; got "
     "'Cosine'"),
    ("train.sh", MEGATRON.replace("    --global-batch-size $GBS\n", ""), Options(),
     "train.sh: --global-batch-size is not there, and the data-parallel size, which it would be made of, neither; pass "
     "--batch-size N"),
    ("train.sh", MEGATRON.replace("4.0e-5", "${LR}"), Options(),
     "train.sh: --lr: is ${LR}, which the file does not assign; pass --set lr=…"),
    ("train.sh", MEGATRON.replace("cosine", "cosin"), Options(), "train.sh: --lr-decay-style: must be one of constant, "
     "linear, cosine, inverse-square-root, WSD; got 'cosin'"),
    ("args.yaml", TIMM, Options(), "args.yaml: lr is null, and lr_base is scaled by the global batch size; pass "
                                   "--world-size N"),
    ("args.yaml", TIMM.replace("sched_on_updates: false", "sched_on_updates: true"), Options(),
     "args.yaml: sched_on_updates counts updates, epochs times their length; pass --steps-per-epoch N"),
    ("args.yaml", TIMM + "lr_noise: [0.4, 0.9]\n", Options(lr=0.1),
     "args.yaml: lr_noise: is random noise, which cannot be promised"),
    ("config.json", {"class_name": "CosineDecayRestarts", "config": {"initial_learning_rate": 0.1,
                                                                     "first_decay_steps": 10, "t_mul": 2.0}}, Options(),
     "config.json: CosineDecayRestarts: its cycles grow, and are written out to the end of the run; pass --steps N"),
    ("config.yaml", LIGHTNING, Options(), "config.yaml: Lightning steps per epoch unless the module says otherwise, "
     "which is not in the file; pass --stepped epoch (or update, attempt)"),
    ("config.yaml", LIGHTNING, Options(stepped="update"), "config.yaml: trainer.max_epochs is a number of updates only "
                                                          "with the length of an epoch; pass --steps-per-epoch N"),
    ("train.toml", TITAN.replace("min_lr_factor = 0.5\n", ""), Options(),
     "train.toml: nothing here says that it is for torchtitan 0.2 or later; before, its warm-up was (t + 1)/(W + 1), "
     "which is not known here; pass --set version=0.3"),
    ("train.toml", TITAN.replace("min_lr_factor", "lr_min"), Options(),
     "train.toml: lr_scheduler.lr_min: is a key of torchtitan before 0.2: its warm-up was (t + 1)/(W + 1), which is "
     "not known here"),
    ("train.yaml", FOUNDRY, Options(), "train.yaml: scheduler.t_max: an epoch is a number of batches only with the "
                                       "length of the data; pass --steps-per-epoch N"),
    ("train.yaml", FOUNDRY.replace("2ep", "1e6tok").replace("0.1dur", "100ba"), Options(),
     "train.yaml: scheduler: has times in ba and tok, which one clock cannot count"),
    ("config.py", NANO, Options(), "config.py: the warm-up of nanoGPT's train.py was t/W at first and is (t+1)/(W+1) "
                                   "now; pass --set 'warmup_form=(t+1)/(W+1)', or t/W"),
    ("config.py", NANO.replace("max_iters = 600", "max_iters = int(os.environ['N'])"), Options(),
     "config.py: max_iters: is missing; pass --set max_iters=…"),
    ("nemo.WarmupPolicy", None, Options(values={"lr": 0.1}), "nemo.WarmupPolicy: nemo does not say who steps the "
                                                             "scheduler; pass --stepped update (or attempt, epoch)"),
    ("optax.cosin", None, Options(), "optax.cosin: is not a schedule of optax; one of "),
    ("optax.linear_schedule", None, Options(values={"initvalue": 1}), "optax.linear_schedule: initvalue: is not a "
                                                                      "parameter; did you mean 'init_value'?"),
    ("optax.linear_schedule", None, Options(), "optax.linear_schedule: needs init_value and end_value and "),
    ("notes.txt", "learning rate: 3e-4", Options(), "notes.txt: is the configuration of no framework that is known "
                                                    "here; say which with --from, one of "),
    ("keras.json", None, Options(), "keras.json: cannot be read: No such file or directory"),
    ("missing.json", None, Options(), "missing.json: cannot be read: No such file or directory"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "content", "options", "message"), REFUSED)
def test_what_is_missing_or_impossible_is_named(
    file: str, content: Any, options: Options, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path(file).write_text(text(content))
    with pytest.raises(ContractError) as error:
        import_contract(file, None, options)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("head", [b"\x80\x04\x95", b"PK\x03\x04rest"], ids=["pickle", "torch.save"])
def test_pickles_are_never_read(head: bytes, tmp_path: Path) -> None:
    path = tmp_path / "training_args.bin"
    path.write_bytes(head + b"cos\nsystem\n")
    with pytest.raises(ContractError, match="is a pickle, which can run code when it is read, so lrwatch does not"):
        import_contract(path)


def test_a_source_that_is_no_text_or_no_file(tmp_path: Path) -> None:
    (tmp_path / "image.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ContractError, match="is not text; give a configuration file"):
        import_contract(tmp_path / "image.json")
    with pytest.raises(ContractError, match="is a directory; give one file of it"):
        import_contract(tmp_path)


BROKEN = ["{", '{"scheduler": {"type": }}', "a: [1", "\t- x: :", "[[", "def (", "\x00", "{}", "[]"]


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("framework", sorted(set(importers()) - {"schedule", "callable"}))
def test_what_is_broken_is_a_located_error(framework: str, broken: str, tmp_path: Path) -> None:
    path = tmp_path / "broken"
    path.write_text(broken)
    with pytest.raises(ContractError, match="broken: "):
        import_contract(path, framework)


def test_every_importer_names_itself() -> None:
    for name, importer in importers().items():
        assert importer.name == name and importer.what
