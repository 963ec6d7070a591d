#pragma once

// Everything, for users of the library; never included inside it.

#include <nibble/core/error.h>
#include <nibble/core/log.h>
#include <nibble/data/row_encoder.h>
#include <nibble/data/sft_dataset.h>
#include <nibble/eval/inspection.h>
#include <nibble/eval/model_loading.h>
#include <nibble/eval/multiple_choice.h>
#include <nibble/eval/perplexity.h>
#include <nibble/eval/recovery.h>
#include <nibble/eval/teacher_forcing.h>
#include <nibble/io/checkpoint.h>
#include <nibble/models/causal_lm.h>
#include <nibble/models/generation.h>
#include <nibble/models/loading.h>
#include <nibble/models/saving.h>
#include <nibble/nn/embedding.h>
#include <nibble/nn/fake_quant_linear.h>
#include <nibble/nn/linear.h>
#include <nibble/nn/parameters.h>
#include <nibble/ops/fake_quant.h>
#include <nibble/quantization/quantize.h>
#include <nibble/quantization/quantized_checkpoint.h>
#include <nibble/quantization/quantizer.h>
#include <nibble/quantization/schedule.h>
#include <nibble/text/chat_template.h>
#include <nibble/text/tokenizer.h>
#include <nibble/train/recipe_parser.h>
#include <nibble/train/trainer.h>
