#pragma once

#include <nibble/train/recipe.h>

#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace nibble::train {

/// A member whose values have names. The first name of a value is the canonical one.
struct Choice {
  std::vector<std::pair<std::string, int>> names;
  std::function<int()> get;
  std::function<void(int)> set;
};

/// A key of another tool that has one meaning here: its value must be one of `allowed` (null and
/// nothing always are). Without `allowed` the whole section is refused.
struct Fixed {
  std::vector<std::string> allowed;
};

/// A key of another tool that does not change what is computed here; any value.
struct Ignored {};

/// What a key's value is stored in.
using Field =
    std::variant<bool*, int64_t*, std::optional<int64_t>*, double*, std::optional<double>*,
                 std::string*, std::optional<std::string>*, std::vector<std::string>*,
                 std::array<double, 2>*, Choice, Fixed, Ignored>;

/// Of a number, or of each number of a list.
struct Range {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool excludes_low = false;
  bool excludes_high = false;
  std::optional<double> also = std::nullopt;  ///< a value outside that has a meaning of its own

  bool contains(double value) const;
  /// "", ">= 1", "> 0", "in [0, 1)".
  std::string describe() const;
};

/// One YAML key: the single definition from which reading, checking, writing and the documentation
/// follow.
struct Key {
  std::string path;     ///< canonical, "qat.quantizer.groupsize"
  Field field;          ///< of the recipe that the key was bound to
  std::string meaning;  ///< for Fixed: why nothing else is allowed
  Range range = {};
  std::vector<std::string> aliases = {};  ///< other paths of the same setting

  /// Stored in the recipe, in contrast to Fixed and Ignored.
  bool is_setting() const {
    return !std::holds_alternative<Fixed>(field) && !std::holds_alternative<Ignored>(field);
  }
};

/// All keys, bound to the members of `recipe`: those of lr_scheduler and of validation datasets as
/// far as the recipe has them.
std::vector<Key> bind_keys(Recipe& recipe);

/// The keys of NeMo Automodel without a setting of their own here.
std::vector<Key> foreign_keys();
/// The same inside the dataset section `section`.
std::vector<Key> foreign_dataset_keys(const std::string& section);

/// True for `validation_dataset` and `validation_dataset_<name>`.
bool is_validation_dataset(std::string_view section);
/// "default" or <name>.
std::string validation_dataset_name(std::string_view section);
/// The section of a validation dataset.
std::string validation_dataset_section(const std::string& name);

/// "integer >= 1", "float32 | bfloat16", "list of strings", ...
std::string describe_type(const Key& key);
/// The field's value as YAML; "null" for Fixed and Ignored.
std::string describe_value(const Field& field);

}  // namespace nibble::train
