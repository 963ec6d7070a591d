#include <nibble/core/error.h>
#include <nibble/models/config.h>

#include <cmath>

namespace nibble::models {
namespace {

constexpr int64_t kMaxPositions = int64_t{1} << 30;

int64_t parse_rotary_dim(const ConfigReader& scaling, const ConfigReader& config,
                         int64_t head_dim) {
  constexpr const char* kKey = "partial_rotary_factor";
  const ConfigReader& source = scaling.has(kKey) ? scaling : config;
  const double fraction = source.positive_number_or(kKey, 1.0);
  const auto rotated = static_cast<int64_t>(static_cast<double>(head_dim) * fraction);
  if (fraction > 1.0 || rotated < 2 || rotated % 2 != 0) {
    const std::string rule = detail::concat(
        "rotary position embedding needs an even number of the "
        "head_dim ",
        head_dim, " elements of a head");
    if (source.has(kKey)) source.reject(kKey, rule);
    fail(config.origin(), ": ", rule);
  }
  return rotated;
}

/// The pretraining context. Phi-3 keeps it outside of the scaling object, and that one wins.
int64_t parse_original_positions(const ConfigReader& scaling, const ConfigReader& config,
                                 int64_t fallback) {
  constexpr const char* kKey = "original_max_position_embeddings";
  return (config.has(kKey) ? config : scaling).size_or(kKey, kMaxPositions, fallback);
}

void parse_llama3(const ConfigReader& scaling, RopeOptions& rope) {
  rope.low_freq_factor = scaling.positive_number_or("low_freq_factor", 1.0);
  rope.high_freq_factor = scaling.positive_number_or("high_freq_factor", 4.0);
  if (rope.high_freq_factor <= rope.low_freq_factor) {
    scaling.reject("high_freq_factor", "it must be greater than low_freq_factor");
  }
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

}  // namespace

RopeOptions parse_rope_scaling(const ConfigReader& scaling, const ConfigReader& config,
                               const ModelConfig& model, RopeOptions rope) {
  rope.theta = scaling.positive_number_or("rope_theta", rope.theta);
  rope.rotary_dim = parse_rotary_dim(scaling, config, model.head_dim);
  const char* key = scaling.has("type") && !scaling.has("rope_type") ? "type" : "rope_type";
  rope.kind = scaling.one_of<RopeKind>(key, "default",
                                       {{"default", RopeKind::kDefault},
                                        {"linear", RopeKind::kLinear},
                                        {"llama3", RopeKind::kLlama3},
                                        {"longrope", RopeKind::kLongRope},
                                        {"su", RopeKind::kLongRope}});  // early Phi-3 files
  rope.original_max_position_embeddings =
      parse_original_positions(scaling, config, rope.original_max_position_embeddings);
  if (rope.kind == RopeKind::kLinear || rope.kind == RopeKind::kLlama3) {
    if (!scaling.has("factor")) scaling.reject("factor", "this kind of rope scaling needs it");
    rope.factor = scaling.positive_number_or("factor", 1.0);
  }
  if (rope.kind == RopeKind::kLlama3) parse_llama3(scaling, rope);
  if (rope.kind == RopeKind::kLongRope) {
    parse_long_rope(scaling, model.max_position_embeddings, rope);
  }
  return rope;
}

RopeOptions parse_rope(const ConfigReader& reader, const ModelConfig& model, RopeOptions rope) {
  rope.theta = reader.positive_number_or("rope_theta", rope.theta);
  for (const char* key : {"rope_parameters", "rope_scaling"}) {
    if (reader.has(key)) return parse_rope_scaling(reader.object(key), reader, model, rope);
  }
  rope.rotary_dim = parse_rotary_dim(reader, reader, model.head_dim);
  return rope;
}

}  // namespace nibble::models
