"""Keys of a DeepSpeed file: those that are taken, and those that are refused, with the reason."""

from __future__ import annotations

RECORDS = "the run's records are metrics.jsonl and logging.use_wandb"
UNTESTED = "it was not tested with this project's checkpoints"
#: Sections and keys of DeepSpeed that are refused, with the reason.
REFUSED = {
    "optimizer": "the optimizer is this project's AdamW; see training.learning_rate, weight_decay, adam_betas",
    "scheduler": "the learning rate follows training.schedule",
    "amp": "NVIDIA Apex is no longer maintained; see training.precision",
    "torch_autocast": "the forward pass has its own autocast; see training.precision",
    "activation_checkpointing": "see model.activation_checkpointing",
    "compile": "see model.compile",
    "checkpoint": "checkpoints are this project's own, one format for all strategies",
    "tensorboard": RECORDS,
    "wandb": RECORDS,
    "csv_monitor": RECORDS,
    "comet": RECORDS,
    "flops_profiler": "FLOPs are counted from the model's shapes; at stage 3 the profiler counts them twice",
    "wall_clock_breakdown": "its timings go to a log that is switched off; see python -m weather.bench step",
    "memory_breakdown": "it goes to a log that is switched off",
    "dump_state": "it goes to a log that is switched off",
    "comms_logger": "it goes to a log that is switched off",
    "steps_per_print": "see training.log_frequency",
    "dataloader_drop_last": "the data are read by weather.data",
    "data_efficiency": "the order of samples is this project's own",
    "curriculum_learning": "the order of samples is this project's own",
    "autotuning": "it would start runs of its own",
    "elasticity": "the global batch is the same at every number of ranks, see training.batch_size",
    "prescale_gradients": "the mean over ranks is taken after the sum, as the other strategies do",
    "gradient_predivide_factor": "the mean over ranks is taken after the sum, as the other strategies do",
    "gradient_allreduce_op": "the gradient is the mean over the global batch",
    "managed_gradient_accumulation": "accumulation follows training.micro_batch_size",
    "sparse_gradients": "the model has none",
    "sparse_attention": "see model.attention",
    **dict.fromkeys(("tensor_parallel", "expert_parallel", "pipeline", "hybrid_engine"), UNTESTED),
    **dict.fromkeys(("compression_training", "quantize_training", "weight_quantization", "aio", "nebula"), UNTESTED),
    **dict.fromkeys(("progressive_layer_drop", "eigenvalue", "sequence_parallel_size", "zenflow"), UNTESTED),
}
FLAG, SIZE = "true or false", "a whole number, or auto"
ZERO_KEYS = {
    "stage": "0, 1, 2 or 3",
    "contiguous_gradients": FLAG,
    "reduce_scatter": FLAG,
    "overlap_comm": FLAG,
    "allgather_partitions": FLAG,
    "round_robin_gradients": FLAG,
    "reduce_bucket_size": SIZE,
    "allgather_bucket_size": SIZE,
    "sub_group_size": SIZE,
    "stage3_prefetch_bucket_size": SIZE,
    "stage3_param_persistence_threshold": SIZE,
    "stage3_max_live_parameters": SIZE,
    "stage3_max_reuse_distance": SIZE,
    "offload_optimizer": "a section",
    "offload_param": "a section",
}
ZERO_REFUSED = {
    "mics_shard_size": "slices that are replicated between groups of ranks are not read back by the checkpoint",
    "mics_hierarchical_params_gather": "slices that are replicated between groups of ranks are not read back",
    "zero_hpz_partition_size": "a second, hidden copy of the slices would not follow a restored checkpoint",
    "zero_quantized_weights": "the model would compute with other weights than are saved",
    "zero_quantized_nontrainable_weights": "the model would compute with other weights than are saved",
    "zero_quantized_gradients": "gradients are summed in fp32",
    "compute_grad_norm": "the norm of the gradient is part of the run's records",
    "elastic_checkpoint": "checkpoints are this project's own",
    "load_from_fp32_weights": "checkpoints are this project's own",
    "stage3_gather_16bit_weights_on_model_save": "checkpoints are this project's own",
    "zenflow": UNTESTED,
    "parameter_alignment": UNTESTED,
    "leaf_module": UNTESTED,
    **dict.fromkeys(
        ("cpu_offload", "cpu_offload_params"), "DeepSpeed calls it offload_optimizer and offload_param now"
    ),
}
FP16_DEFAULTS = {  # as torch.amp.GradScaler, so that a run may change between strategies
    "loss_scale": 0,
    "initial_scale_power": 16,
    "loss_scale_window": 2000,
    "hysteresis": 1,
    "consecutive_hysteresis": False,
    "min_loss_scale": 1,
}
SINGLE_KEYS = (
    *("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "gradient_clipping"),
    *("communication_data_type", "zero_allow_untested_optimizer", "zero_force_ds_cpu_optimizer"),
)
SECTIONS = {
    "bf16": {"enabled"},
    "fp16": {"enabled", *FP16_DEFAULTS},
    "data_types": {"grad_accum_dtype"},
    "zero_optimization": set(ZERO_KEYS),
}
