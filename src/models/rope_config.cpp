#include <nibble/core/error.h>
#include <nibble/models/config.h>

#include <nlohmann/json.hpp>

#include <cmath>

namespace nibble::models {
namespace {

constexpr int64_t kMaxPositions = int64_t{1} << 30;
constexpr const char* kPartial = "partial_rotary_factor";

/// Architectures that rotate whole heads do not read the key in transformers, whose other kinds of
/// rotation fail on it there.
void ignore_partial_rotary(const ConfigReader& source, RopeKind kind) {
  if (kind == RopeKind::kDefault || source.positive_number_or(kPartial, 1.0) == 1.0) return;
  source.reject(kPartial, "this architecture rotates whole heads: it must be 1");
}

int64_t parse_rotary_dim(const ConfigReader& source, int64_t head_dim) {
  const double fraction = source.positive_number_or(kPartial, 1.0);
  const auto rotated = static_cast<int64_t>(static_cast<double>(head_dim) * fraction);
  if (fraction > 1.0 || rotated < 2 || rotated % 2 != 0) {
    source.reject(kPartial, detail::concat("rotary position embedding needs an even number of the ",
                                           "head_dim ", head_dim, " elements of a head"));
  }
  return rotated;
}

/// The pretraining context. Phi-3 keeps it outside of the scaling object, and that one wins.
int64_t parse_original_positions(const ConfigReader& scaling, const ConfigReader& config,
                                 int64_t fallback) {
  constexpr const char* kKey = "original_max_position_embeddings";
  return (config.has(kKey) ? config : scaling).size_or(kKey, kMaxPositions, fallback);
}

void parse_factor(const ConfigReader& scaling, RopeOptions& rope) {
  if (!scaling.has("factor")) scaling.reject("factor", "this kind of rope scaling needs it");
  rope.factor = scaling.positive_number_or("factor", 1.0);
}

void parse_llama3(const ConfigReader& scaling, RopeOptions& rope) {
  rope.low_freq_factor = scaling.positive_number_or("low_freq_factor", 1.0);
  rope.high_freq_factor = scaling.positive_number_or("high_freq_factor", 4.0);
  if (rope.high_freq_factor <= rope.low_freq_factor) {
    scaling.reject("high_freq_factor", "it must be greater than low_freq_factor");
  }
}

/// The YaRN paper's, with the weight that DeepSeek's files put on it.
double yarn_attention_factor(double factor, double weight) {
  return factor > 1.0 ? 0.1 * weight * std::log(factor) + 1.0 : 1.0;
}

void parse_yarn(const ConfigReader& scaling, RopeOptions& rope) {
  rope.beta_fast = scaling.positive_number_or("beta_fast", 32.0);
  rope.beta_slow = scaling.positive_number_or("beta_slow", 1.0);
  rope.truncate = scaling.boolean_or("truncate", true);
  double suggested = yarn_attention_factor(rope.factor, 1.0);
  if (scaling.has("mscale") && scaling.has("mscale_all_dim")) {
    const auto weighted = [&](const char* key) {
      return yarn_attention_factor(rope.factor, scaling.positive_number_or(key, 1.0));
    };
    suggested = weighted("mscale") / weighted("mscale_all_dim");
  }
  rope.attention_factor = scaling.positive_number_or("attention_factor", suggested);
}

void parse_long_rope(const ConfigReader& scaling, int64_t max_positions, RopeOptions& rope) {
  const auto frequencies = static_cast<size_t>(rope.rotary_dim / 2);
  rope.short_factors = scaling.positive_numbers("short_factor", frequencies);
  rope.long_factors = scaling.positive_numbers("long_factor", frequencies);
  const auto original = static_cast<double>(rope.original_max_position_embeddings);
  const double growth =
      scaling.positive_number_or("factor", static_cast<double>(max_positions) / original);
  // The LongRoPE paper's: attention gets flatter over more tokens.
  const double suggested =
      growth > 1.0 ? std::sqrt(1.0 + std::log(growth) / std::log(std::max(original, 2.0))) : 1.0;
  rope.attention_factor = scaling.positive_number_or("attention_factor", suggested);
}

/// rotary_dim; the nearer of the two objects that may hold the key counts.
int64_t parse_rotated(const ConfigReader& scaling, const ConfigReader& config,
                      const RopeOptions& rope, bool partial_rotary) {
  const ConfigReader& source = scaling.has(kPartial) ? scaling : config;
  if (partial_rotary) return parse_rotary_dim(source, rope.rotary_dim);
  ignore_partial_rotary(source, rope.kind);
  if (rope.rotary_dim % 2 != 0) {
    fail(config.origin(), ": rotary position embedding needs an even head_dim, got ",
         rope.rotary_dim);
  }
  return rope.rotary_dim;
}

}  // namespace

RopeOptions parse_rope_scaling(const ConfigReader& scaling, const ConfigReader& config,
                               const ModelConfig& model, RopeOptions rope, bool partial_rotary) {
  rope.theta = scaling.positive_number_or("rope_theta", rope.theta);
  const char* key = scaling.has("type") && !scaling.has("rope_type") ? "type" : "rope_type";
  rope.kind = scaling.one_of<RopeKind>(key, "default",
                                       {{"default", RopeKind::kDefault},
                                        {"linear", RopeKind::kLinear},
                                        {"llama3", RopeKind::kLlama3},
                                        {"yarn", RopeKind::kYarn},
                                        {"longrope", RopeKind::kLongRope},
                                        {"su", RopeKind::kLongRope}});  // early Phi-3 files
  rope.rotary_dim = parse_rotated(scaling, config, rope, partial_rotary);
  rope.original_max_position_embeddings =
      parse_original_positions(scaling, config, rope.original_max_position_embeddings);
  switch (rope.kind) {
    case RopeKind::kDefault:
      break;
    case RopeKind::kLinear:
      parse_factor(scaling, rope);
      break;
    case RopeKind::kLlama3:
      parse_factor(scaling, rope);
      parse_llama3(scaling, rope);
      break;
    case RopeKind::kYarn:
      parse_factor(scaling, rope);
      parse_yarn(scaling, rope);
      break;
    case RopeKind::kLongRope:
      parse_long_rope(scaling, model.max_position_embeddings, rope);
      break;
  }
  return rope;
}

RopeOptions parse_rope(const ConfigReader& reader, const ModelConfig& model, RopeOptions rope,
                       bool partial_rotary) {
  rope.theta = reader.positive_number_or("rope_theta", rope.theta);
  // Where both are there, transformers 5 takes the older spelling, unless it is empty.
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    if (reader.has(key) && !reader.json()[key].empty()) {
      return parse_rope_scaling(reader.object(key), reader, model, rope, partial_rotary);
    }
  }
  rope.rotary_dim = parse_rotated(reader, reader, rope, partial_rotary);
  return rope;
}

}  // namespace nibble::models
