#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace nibble::train {

/// How deep a file may nest, and a key on the command line.
inline constexpr size_t kMaxDepth = 32;

/// A YAML value that remembers where it was written. Map keys are unique strings, aliases and merge
/// keys are expanded, environment variables are not (interpolate_environment).
struct YamlNode {
  enum class Kind { kNull, kScalar, kSequence, kMap };

  Kind kind = Kind::kNull;
  std::string key;    ///< in a map
  std::string text;   ///< of a scalar or of a spelled null, as written
  std::string where;  ///< "recipe.yaml:12": the line of the key, or of the value outside maps
  std::vector<YamlNode> children;

  bool is_null() const { return kind == Kind::kNull; }
  bool is_scalar() const { return kind == Kind::kScalar; }
  bool is_sequence() const { return kind == Kind::kSequence; }
  bool is_map() const { return kind == Kind::kMap; }

  /// The entry of a map, or nullptr.
  const YamlNode* find(std::string_view name) const;
  YamlNode* find(std::string_view name);
  /// The value for messages: 'text', a list, a map, nothing.
  std::string describe() const;
};

/// Gives the `where` of a 1-based line.
using Locate = std::function<std::string(int line)>;

/// Parses one document whose root is a map; CRLF and a UTF-8 byte order mark are accepted.
/// Plain null, none (any case), ~ and nothing are null.
/// Throws Error with the location on bad syntax, tabs in the indentation, duplicate keys, text that
/// is not UTF-8, no or several documents, unknown tags, and beyond the bounds on size (1 MiB),
/// nesting (kMaxDepth) and the size after expansion of aliases (2 MiB).
YamlNode parse_yaml_document(std::string_view text, const Locate& locate);

/// Parses one value in flow style, for example `[0.9, 0.95]`.
YamlNode parse_yaml_value(std::string_view text, const Locate& locate);

/// True for the spellings of null.
bool is_null_word(std::string_view text);

/// Expands ${VAR}, ${VAR,default} and ${oc.env:VAR,default} in every scalar; `$${` stands for a
/// literal `${`. Throws Error where a variable without default is not set.
void interpolate_environment(YamlNode& node);

}  // namespace nibble::train
