#include "recipe_keys.h"

namespace nibble::train {
namespace {

constexpr const char* kOneProcess = "Nibble trains in one process";

/// `section` + each of `names`, without effect.
void ignore(std::vector<Key>& keys, const std::string& section,
            std::initializer_list<const char*> names) {
  for (const char* name : names) {
    keys.push_back({section + "." + name, Ignored{}, "No effect."});
  }
}

}  // namespace

std::vector<Key> foreign_keys() {
  std::vector<Key> keys = {
      {"recipe", Fixed{{"TrainFinetuneRecipeForNextTokenPrediction"}},
       "Nibble fine-tunes for next-token prediction"},
      {"task.type", Fixed{{"sft"}}, "Nibble trains by supervised fine-tuning (SFT) only"},
      {"model._target_", Fixed{{"from_pretrained"}},
       "Nibble starts from pretrained weights (NeMoAutoModelForCausalLM.from_pretrained)"},
      {"model.trust_remote_code", Fixed{{"false"}}, "Nibble runs no code of a checkpoint"},
      {"step_scheduler.start_step", Fixed{{"0"}}, "a run resumes through checkpoint.restore_from"},
      {"step_scheduler.start_epoch", Fixed{{"0"}}, "a run resumes through checkpoint.restore_from"},
      {"step_scheduler.preemption_signal", Fixed{{"SIGTERM"}}, "SIGTERM saves and exits"},
      {"optimizer.amsgrad", Fixed{{"false"}}, "AMSGrad is not supported"},
      {"optimizer.maximize", Fixed{{"false"}}, "the loss is minimized"},
      {"lr_scheduler.start_wd", Fixed{}, "weight decay is constant"},
      {"lr_scheduler.end_wd", Fixed{}, "weight decay is constant"},
      {"lr_scheduler.wd_incr_steps", Fixed{}, "weight decay is constant"},
      {"lr_scheduler.wd_incr_style", Fixed{{"constant"}}, "weight decay is constant"},
      {"loss_fn._target_",
       Fixed{{"MaskedCrossEntropy", "ChunkedCrossEntropy", "FusedLinearCrossEntropy",
              "TEParallelCrossEntropy"}},
       "the loss is the cross entropy of the targets; all of these compute it"},
      {"loss_fn.fp32_upcast", Fixed{{"true"}}, "the loss is computed in float32"},
      {"loss_fn.ignore_index", Fixed{{"-100"}}, "tokens that are no target have label -100"},
      {"loss_fn.reduction", Fixed{{"sum"}},
       "the loss is summed and divided by the targets of the global batch"},
      {"qat.qat_config._target_", Fixed{{"QATConfig"}}, "the class of Automodel's QAT settings"},
      {"qat.quantizer.padding_allowed",
       Fixed{{"false"}},
       "padded groups are not supported; choose a groupsize that divides in_features",
       {},
       {"qat.qat_config.padding_allowed"}},
      {"dataloader.group_by_length", Fixed{{"false"}}, "rows are not grouped by length"},
      {"dataloader.batch_size", Fixed{}, "it is step_scheduler.local_batch_size"},
      {"packed_sequence.packed_sequence_size", Fixed{{"0"}},
       "rows are padded within a micro-batch, not packed"},
      {"distributed.dp_size", Fixed{{"1"}}, kOneProcess},
      {"distributed.dp_replicate_size", Fixed{{"1"}}, kOneProcess},
      {"distributed.tp_size", Fixed{{"1"}}, kOneProcess},
      {"distributed.pp_size", Fixed{{"1"}}, kOneProcess},
      {"distributed.cp_size", Fixed{{"1"}}, kOneProcess},
      {"distributed.ep_size", Fixed{{"1"}}, kOneProcess},
      {"distributed.sequence_parallel", Fixed{{"false"}}, kOneProcess},
      {"checkpoint.model_save_format", Fixed{{"safetensors"}}, "weights are saved as safetensors"},
      {"checkpoint.best_metric_key", Fixed{{"default"}},
       "LOWEST_VAL follows the default validation dataset"},
      {"convert.format", Fixed{{"nibble"}}, "qat_convert writes other formats"},
      {"fp8.enabled", Fixed{{"false"}}, "fp8 training is not supported"},
      {"peft", Fixed{}, "LoRA and other adapters are not supported: all weights are trained"},
      {"neftune", Fixed{}, "noise on the embeddings (NEFTune) is not supported"},
  };
  ignore(keys, "rng", {"_target_", "ranked"});
  ignore(keys, "model",
         {"attn_implementation", "cache_dir", "use_liger_kernel", "use_sdpa_patching", "force_hf",
          "output_hidden_states"});
  ignore(keys, "step_scheduler",
         {"_target_", "log_remote_every_steps", "loss_average_window_steps", "gc_every_steps"});
  ignore(keys, "optimizer", {"foreach", "fused", "capturable", "differentiable"});
  ignore(keys, "lr_scheduler",
         {"_target_", "use_checkpoint_opt_param_scheduler", "override_opt_param_scheduler"});
  ignore(keys, "loss_fn", {"chunk_len", "logit_softcapping"});
  for (const char* name : {"precision", "inner_k_tiles"}) {
    keys.push_back({std::string("qat.quantizer.") + name,
                    Ignored{},
                    "No effect: model.torch_dtype decides, and the layout belongs to the export.",
                    {},
                    {std::string("qat.qat_config.") + name}});
  }
  ignore(keys, "packed_sequence",
         {"packing_strategy", "max_packs", "prepacked", "drop_long_samples", "num_proc",
          "split_across_pack"});
  for (const char* section : {"dataloader", "validation_dataloader"}) {
    ignore(keys, section,
           {"_target_", "collate_fn", "num_workers", "pin_memory", "persistent_workers",
            "prefetch_factor", "shuffle_buffer_size"});
  }
  ignore(keys, "validation_dataloader", {"shuffle", "drop_last", "batch_size"});
  ignore(keys, "compile", {"enabled", "mode", "fullgraph", "dynamic", "backend", "options"});
  ignore(keys, "distributed",
         {"_target_", "strategy", "activation_checkpointing", "reshard_after_forward",
          "defer_fsdp_grad_sync", "autocast_dtype", "offload_policy", "mp_policy", "backend"});
  ignore(keys, "checkpoint",
         {"_target_", "save_consolidated", "is_async", "staging_dir", "single_rank_consolidation",
          "cpu_offload", "v4_compatible", "consolidation_timeout_minutes"});
  ignore(keys, "clip_grad_norm", {"_target_", "foreach"});
  ignore(keys, "fp8", {"recipe_name", "filter_fqns", "emulate"});
  for (const char* section :
       {"dist_env", "wandb", "mlflow", "comet", "mfu", "nvtx", "ci", "prewarm", "moe_metrics",
        "tool_call_eval", "embedding_row_repair", "sdpa_method", "quantization"}) {
    keys.push_back({section, Ignored{}, "No effect."});
  }
  return keys;
}

std::vector<Key> foreign_dataset_keys(const std::string& section) {
  std::vector<Key> keys = {
      {section + ".mask_reasoning_content", Fixed{{"false"}},
       "reasoning in an assistant turn is a target like the rest of the turn"},
      {section + ".unshifted", Fixed{{"false"}}, "labels are shifted by the dataset"},
  };
  ignore(keys, section, {"padding", "pad_to_max_length", "start_of_turn_token", "tokenizer"});
  return keys;
}

}  // namespace nibble::train
