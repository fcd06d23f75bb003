"""Words of the command line that people bring from other projects: some are taken, the others are told ours.

What Hydra means by a word it means here too. ``hydra.sweep.dir`` and ``hydra.run.dir`` move the sweep, ``~tracking``
takes the tracking away. Words of Lightning templates, of W&B and of other recommender frameworks end in one line that
names the key of this project and its page in the docs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from mmbench.messages import Message, Refusal

#: Sections whose keys are names of the user's modalities, so a new key is normal and needs no plus sign.
OPEN_SECTIONS = (
    "modality.states.",
    "modality.missing.",
    "dataset.encoder.",
    "model.modality_weights.",
    "search.model.modality_weights.",
)
#: Foreign words by what is written here in their place and the page that explains it. A word is a key, which also
#: stands for every key below it, or ``key=value`` where other values of the key are ours.
FOREIGN_WORDS: Mapping[tuple[str, str], str] = {
    ("budget.max_steps=STEPS", "protocol"): (
        "epochs max_epochs n_epochs num_epochs max_steps num_steps trainer.max_epochs trainer.max_steps "
        "training.epochs training.max_epochs train.epochs budget.epochs model.epochs"
    ),
    ("budget.min_steps=STEPS", "protocol"): "min_epochs min_steps trainer.min_epochs trainer.min_steps",
    ("budget.patience_steps=STEPS", "protocol"): (
        "patience early_stopping early_stop stopping_step callbacks callbacks.early_stopping budget.patience "
        "training.patience"
    ),
    ("budget.batches_per_epoch=N", "protocol"): "trainer.limit_train_batches limit_train_batches",
    ("optimizer.lr=LR", "options"): (
        "lr learning_rate model.lr model.learning_rate optimizer.learning_rate optim.lr training.lr "
        "model.optimizer model.optimizer.lr"
    ),
    ("optimizer.weight_decay=W", "options"): "weight_decay l2 model.weight_decay optim.weight_decay",
    ("training.batch_size=N", "protocol"): (
        "batch_size train_batch_size data.batch_size datamodule.batch_size trainer.batch_size model.batch_size"
    ),
    ("training.accelerator=gpu training.devices=1", "cluster"): (
        "gpus gpu gpu_id use_gpu num_gpus n_gpus cuda device devices accelerator trainer trainer.gpus trainer.devices "
        "trainer.accelerator trainer.strategy strategy training.gpus training.device"
    ),
    ("training.precision=bf16-mixed", "performance"): "precision trainer.precision fp16 bf16 amp half",
    ("training.compile=true", "performance"): "compile model.compile trainer.compile torch_compile",
    ("sweep.workers=N", "cluster"): (
        "num_workers n_workers workers n_jobs num_threads data.num_workers datamodule.num_workers "
        "training.num_workers hydra.launcher.n_jobs"
    ),
    ("hydra/launcher=slurm hydra.launcher.allocations=N", "cluster"): (
        "hydra/launcher=submitit_slurm hydra/launcher=submitit_local hydra.launcher.nodes nodes num_nodes "
        "trainer.num_nodes slurm"
    ),
    ("hydra/launcher=local sweep.workers=N", "cluster"): "hydra/launcher=joblib hydra/launcher=basic hydra/launcher=rq",
    ("study.draw=K budget.seeds=S dataset.split_seed=K", "protocol"): (
        "seed seeds random_seed random_state manual_seed seed_everything n_seeds training.seed trainer.seed"
    ),
    ("budget=standard budget.trials=N", "protocol"): (
        "hparams_search hydra/sweeper=optuna hydra/sweeper=ax hydra/sweeper=nevergrad hydra/sweeper=basic "
        "hydra.sweeper.n_trials hydra.sweeper.n_jobs hydra.sweeper.study_name hydra.sweeper.direction "
        "hydra.sweeper.storage n_trials num_trials trials max_trials n_iter tune optuna"
    ),
    ("budget.tpe=N", "protocol"): "hydra.sweeper.sampler hydra/sweeper/sampler sampler tpe",
    ("'budget.rungs=[STEPS,STEPS]'", "protocol"): "pruner hydra.sweeper.pruner asha hyperband",
    ("'search.KEY={low: L, high: H}'", "adding-a-model"): "hydra.sweeper.search_space search_space param_grid grid",
    ("report.primary=METRIC", "protocol"): "optimized_metric valid_metric monitor metric objective",
    ("'report.metrics=[METRIC,METRIC]'", "options"): "metrics topk top_k k eval.metrics evaluation.metrics",
    ("tracking=wandb", "trackers"): (
        "logger wandb wandb_mode use_wandb callbacks.wandb trainer.logger comet neptune aim logger=wandb"
    ),
    ("tracking=mlflow", "trackers"): "mlflow logger=mlflow use_mlflow mlflow_logger callbacks.mlflow",
    ("tracking=tensorboard", "trackers"): (
        "tensorboard logger=tensorboard use_tensorboard tensorboard_logger tb callbacks.tensorboard"
    ),
    ("tracking=csv", "trackers"): "csv logger=csv csv_logger callbacks.csv",
    ("tracking=none", "trackers"): "logger=null logger=none logger=False logger=false no_logger",
    ("'tracking=[wandb,csv]'", "trackers"): "loggers logger=many_loggers trackers",
    ("tracking.curves=all", "trackers"): "log_every_n_steps trainer.log_every_n_steps log_curves log_interval",
    ("tracking.wandb.project=NAME", "trackers"): "wandb.project logger.wandb.project project project_name",
    ("tracking.wandb.entity=NAME", "trackers"): "wandb.entity logger.wandb.entity entity wandb_entity",
    ("'tracking.wandb.tags=[TAG]'", "trackers"): "wandb.tags logger.wandb.tags tags",
    ("tracking.wandb.mode=online", "trackers"): "wandb.mode logger.wandb.offline offline",
    ("sweep.name=NAME", "getting-started"): (
        "name run_name task_name exp_name experiment_name job_name version hydra.job.name wandb.name logger.wandb.name "
        "mlflow.experiment_name logger.mlflow.experiment_name"
    ),
    ("sweep.dir=FOLDER paths.multirun=FOLDER", "options"): (
        "output_dir out_dir log_dir logdir save_dir results_dir work_dir default_root_dir trainer.default_root_dir "
        "paths.log_dir paths.output_dir hydra.sweep.subdir hydra.output_subdir"
    ),
    ("dataset=folder dataset.name=NAME dataset.path=FOLDER", "data"): (
        "data datamodule datasets dataset_name data_name"
    ),
    ("dataset.path=FOLDER paths.data=FOLDER", "options"): (
        "data_dir data_path data_root paths.data_dir data.data_dir data.path datamodule.data_dir dataset.root"
    ),
    ("dataset.protocol=paper", "data"): (
        "split split_ratio val_ratio test_ratio train_val_test_split data.train_val_test_split dataset.split eval_args"
    ),
    ("dataset.k_core=K", "data"): "k_core min_interactions user_inter_num_interval item_inter_num_interval",
    ("model=NAME", "reading"): "models net network architecture model_name algorithm",
    ("modality=none,text,image,fused", "reading"): "modalities modality_name features feature",
    ("model.embedding_dim=N", "options"): "embedding_size embedding_dim emb_dim hidden_size latent_dim dim",
    ("model.n_layers=N", "options"): "n_layers num_layers model.num_layers",
    ("study.resume=auto study.resume=force", "cluster"): (
        "ckpt_path checkpoint ckpt resume resume_from_checkpoint resume_from trainer.resume_from_checkpoint "
        "trainer.ckpt_path load_best overwrite force"
    ),
    ("python -m mmbench report FOLDER", "reading"): ("train test eval evaluate validate fit predict mode stage extras"),
    ("budget=smoke debug=true", "options"): (
        "verbose log_level trainer.fast_dev_run fast_dev_run overfit_batches trainer.overfit_batches profiler "
        "trainer.profiler hydra.verbose"
    ),
}
#: First letters of what Hydra takes as it stands, whatever it holds.
QUOTED = "'\"["
#: Where the pages are found.
PAGES = "docs/{page}.md"
#: Entries by word.
_OURS = {word: entry for entry, words in FOREIGN_WORDS.items() for word in words.split()}


def ours(words: Iterable[str], multirun: bool) -> list[str]:
    """The words of a command line as this project takes them.

    Args:
        words: overrides.
        multirun: whether they are those of a sweep, which decides between ``hydra.sweep.dir`` and ``hydra.run.dir``.

    Raises:
        ValueError: for a word that other projects use, naming ours.
    """
    words = list(words)
    check(words)
    return [_ours(word, "hydra.sweep.dir=" if multirun else "hydra.run.dir=") for word in words]


def _ours(word: str, place: str) -> str:
    bare = word.lstrip("+")
    if bare.startswith(place):
        return f"sweep.dir={bare.removeprefix(place)}"
    if bare.startswith("tuned="):  # for Hydra a group, where a folder of configurations holds tuned ones
        names = bare.removeprefix("tuned=").split(",")
        # The encoder in a name follows an equals sign, which Hydra takes in quotes only; some have them already.
        return f"given={','.join(repr(name) if '=' in name and name[0] not in QUOTED else name for name in names)}"
    if word == "~tracking":
        return "tracking=none"
    return f"++{word}" if word.startswith(OPEN_SECTIONS) else word


def check(words: Sequence[str]) -> None:
    """Refuse a word that other projects use; a key of the model is none before a model is known not to have it.

    Args:
        words: overrides, or flags without their dashes.

    Raises:
        ValueError: naming ours.
    """
    for word in words:
        if not word.lstrip("+~").startswith("model.") and (said := foreign(word)):
            raise Refusal(said)


def foreign(word: str) -> Message | None:
    """What is said of a word that other projects use, naming ours; None for any other."""
    entry = next((_OURS[name] for name in _names(word.lstrip("+~")) if name in _OURS), None)
    if entry is None:
        return None
    written, page = entry
    return Message(
        "{word} is a word of other projects; here it is {ours}, see {page}",
        word=word,
        ours=written,
        page=PAGES.format(page=page),
    )


def _names(word: str) -> Iterator[str]:
    """Under which names a word may be listed: whole, as a key, and by the sections that hold the key."""
    key = word.partition("=")[0]
    yield from (word, key)
    if not key.startswith("hydra"):
        while "." in key:
            key = key.rpartition(".")[0]
            yield key
