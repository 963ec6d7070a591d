#pragma once

#include <nibble/core/error.h>
#include <nibble/data/row_encoder.h>
#include <nibble/models/config.h>
#include <nibble/train/recipe.h>

namespace nibble::train {

/// What `action` gives; its Error then starts with the place and path of the setting `key`.
template <class Action>
auto about(const Recipe& recipe, const std::string& key, Action&& action) {
  try {
    return action();
  } catch (const Error& error) {
    fail(recipe.describe_key(key), ": ", error.what());
  }
}

/// What can be told before the model is loaded: several processes, a checkpoint_dir that cannot be
/// one, final stages that would be refused after hours of training. Throws Error.
void check_before_loading(const Recipe& recipe);

/// Throws Error where a prompt of generate.prompts leaves no room for an answer.
void check_prompts(const Recipe& recipe, const data::TextFormat& format,
                   const models::ModelConfig& config);

}  // namespace nibble::train
