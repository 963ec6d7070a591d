#include "yaml_node.h"

#include <nibble/core/error.h>

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <map>
#include <sstream>
#include <utility>

#include "yaml_text.h"

namespace nibble::train {
namespace {

using Kind = YamlNode::Kind;

constexpr size_t kMaxExpandedBytes = size_t{2} << 20;

/// Text of the tree, and 64 bytes for each of its nodes.
size_t expanded_bytes(const YamlNode& node) {
  size_t bytes = 64 + node.text.size();
  for (const YamlNode& child : node.children) {
    bytes += expanded_bytes(child);
  }
  return bytes;
}

/// Builds the tree from yaml-cpp's events. Its own Node type would drop the line of keys and keep
/// only one of two equal keys.
class TreeBuilder : public YAML::EventHandler {
 public:
  explicit TreeBuilder(const Locate& locate) : locate_(locate) {}

  YamlNode take_root() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    charge(64, mark);
    add({Kind::kNull, {}, {}, where(mark), {}}, anchor);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    check_tag(mark, tag);
    charge(64 + value.size(), mark);
    // yaml-cpp tags a plain scalar "?" and a quoted one "!".
    const bool null = tag == "?" && is_null_word(value) && !expects_key();
    add({null ? Kind::kNull : Kind::kScalar, {}, value, where(mark), {}}, anchor);
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto anchored = anchors_.find(anchor);
    NIBBLE_CHECK(anchored != anchors_.end(), where(mark), ": this alias refers to itself");
    charge(expanded_bytes(anchored->second), mark);
    add(anchored->second, 0);
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(Kind::kSequence, mark, tag, anchor);
  }
  void OnSequenceEnd() override { close(); }

  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(Kind::kMap, mark, tag, anchor);
  }
  void OnMapEnd() override {
    expand_merge_keys(open_.back().node);
    close();
  }

 private:
  struct Open {
    YamlNode node;
    YAML::anchor_t anchor = 0;
    bool has_key = false;  ///< a map's key was read, its value comes next
    std::string key;
    std::string key_where;
  };

  std::string where(const YAML::Mark& mark) const { return locate_(mark.line + 1); }

  bool expects_key() const {
    return !open_.empty() && open_.back().node.is_map() && !open_.back().has_key;
  }

  void check_tag(const YAML::Mark& mark, std::string_view tag) const {
    constexpr std::string_view kStandard = "tag:yaml.org,2002:";
    const bool known = tag.size() <= 1 || (tag.starts_with(kStandard) &&
                                           tag.find(':', kStandard.size()) == std::string::npos &&
                                           tag.find('/', kStandard.size()) == std::string::npos);
    NIBBLE_CHECK(known, where(mark), ": the tag '", tag, "' is not supported; remove it");
  }

  /// Bounds what a small file with aliases of aliases can expand to.
  void charge(size_t bytes, const YAML::Mark& mark) {
    bytes_ += bytes;
    NIBBLE_CHECK(bytes_ <= kMaxExpandedBytes, where(mark),
                 ": too many values, or aliases that expand to too many");
  }

  void open(Kind kind, const YAML::Mark& mark, std::string_view tag, YAML::anchor_t anchor) {
    check_tag(mark, tag);
    charge(64, mark);
    NIBBLE_CHECK(!expects_key(), where(mark), ": a key must be a plain word, not a list or a map",
                 " (write ${VAR} as a value, and quote text that starts with '{' or '[')");
    NIBBLE_CHECK(open_.size() < kMaxDepth, where(mark), ": nested more than ", kMaxDepth,
                 " levels deep");
    open_.push_back({{kind, {}, {}, where(mark), {}}, anchor, false, {}, {}});
  }

  void close() {
    Open done = std::move(open_.back());
    open_.pop_back();
    add(std::move(done.node), done.anchor);
  }

  void add(YamlNode node, YAML::anchor_t anchor) {
    if (anchor != 0) {
      anchors_[anchor] = node;
    }
    if (open_.empty()) {
      root_ = std::move(node);
      return;
    }
    Open& parent = open_.back();
    if (parent.node.is_sequence()) {
      parent.node.children.push_back(std::move(node));
    } else if (parent.has_key) {
      node.key = std::move(parent.key);
      node.where = std::move(parent.key_where);
      parent.has_key = false;
      parent.node.children.push_back(std::move(node));
    } else {
      take_key(parent, std::move(node));
    }
  }

  /// "qat.quantizer." inside that section.
  std::string open_path() const {
    std::string path;
    for (const Open& outer : open_) {
      if (outer.has_key) path += outer.key + ".";
    }
    return path;
  }

  void take_key(Open& map, YamlNode key) const {
    NIBBLE_CHECK(key.is_scalar() && !key.text.empty(), key.where, ": a key is missing before ':'");
    const YamlNode* first = map.node.find(key.text);
    if (first != nullptr && key.text != "<<") {
      fail(key.where, ": duplicate key '", open_path() + key.text, "', first set at ", first->where,
           open_.size() == 1 ? "; remove one, or indent it below its section" : "; remove one");
    }
    map.has_key = true;
    map.key = std::move(key.text);
    map.key_where = std::move(key.where);
  }

  /// `<<: *base` adds the entries of `base` that the map does not set itself.
  static void expand_merge_keys(YamlNode& map) {
    std::vector<YamlNode> merged;
    std::erase_if(map.children, [&](YamlNode& child) {
      if (child.key != "<<") {
        return false;
      }
      std::vector<YamlNode> maps =
          child.is_sequence() ? std::move(child.children) : std::vector<YamlNode>{child};
      for (YamlNode& source : maps) {
        NIBBLE_CHECK(source.is_map(), child.where, ": '<<' merges maps, got ", source.describe());
        std::move(source.children.begin(), source.children.end(), std::back_inserter(merged));
      }
      return true;
    });
    for (YamlNode& entry : merged) {
      if (map.find(entry.key) == nullptr) {
        map.children.push_back(std::move(entry));
      }
    }
  }

  const Locate& locate_;
  YamlNode root_;
  std::vector<Open> open_;
  std::map<YAML::anchor_t, YamlNode> anchors_;
  size_t bytes_ = 0;
};

[[noreturn]] void fail_syntax(const YAML::Exception& error, std::string_view text,
                              const Locate& locate) {
  const auto last_line = 1 + std::count(text.begin(), text.end(), '\n');
  const int line = std::min(error.mark.line + 1, static_cast<int>(last_line));
  if (error.msg.find("EOF in scalar") != std::string::npos) {
    fail(locate(line), ": not valid YAML: the text ends inside quotes; close them");
  }
  const auto holds = [&](const char* part) { return text.find(part) != std::string_view::npos; };
  const char* hint = holds("${") ? "; inside { } or [ ], write \"${VAR}\" with quotes"
                     : holds("{%") || holds("{{")
                         ? "; put text that starts with '{' (a chat template) in quotes"
                         : "";
  fail(locate(line), ": not valid YAML: ", error.msg, " (column ", error.mark.column + 1, ")",
       hint);
}

YamlNode parse_single_document(std::string_view text, const Locate& locate) {
  // yaml-cpp accepts a quote that is never closed when a line break ends the file: a comment does
  // so instead.
  std::istringstream stream(clean_yaml_text(text, locate) + "\n#");
  TreeBuilder builder(locate);
  try {
    YAML::Parser parser(stream);
    NIBBLE_CHECK(parser.HandleNextDocument(builder), locate(1), ": the file is empty");
    YamlNode root = builder.take_root();
    TreeBuilder rest(locate);
    if (parser.HandleNextDocument(rest)) {
      const YamlNode second = rest.take_root();
      fail(second.where, ": a second document starts here; a recipe is one document");
    }
    return root;
  } catch (const YAML::Exception& error) {
    fail_syntax(error, text, locate);
  }
}

/// The text after "${", up to the closing brace: the variable's value or its default.
std::string expand_variable(std::string_view expression, const std::string& where) {
  constexpr std::string_view kOmegaConf = "oc.env:";
  if (expression.starts_with(kOmegaConf)) {
    expression.remove_prefix(kOmegaConf.size());
  }
  const size_t comma = expression.find(',');
  const std::string name(expression.substr(0, comma));
  const bool is_name = !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_';
  });
  NIBBLE_CHECK(is_name, where, ": '${", expression,
               "}' is no environment variable; write ${VAR}, ${VAR,default} or $${ for a literal");
  if (const char* value = std::getenv(name.c_str())) {
    return value;
  }
  NIBBLE_CHECK(comma != std::string_view::npos, where, ": the environment variable ", name,
               " is not set; set it, or write ${", name, ",default}");
  const size_t start = expression.find_first_not_of(' ', comma + 1);
  return start == std::string_view::npos ? std::string() : std::string(expression.substr(start));
}

std::string expand_text(std::string_view text, const std::string& where) {
  std::string result;
  for (size_t position = 0; position < text.size();) {
    const size_t start = text.find("${", position);
    if (start == std::string_view::npos) {
      return result.append(text.substr(position));
    }
    if (start > position && text[start - 1] == '$') {
      result.append(text.substr(position, start - 1 - position)).append("${");
      position = start + 2;
      continue;
    }
    const size_t end = text.find('}', start);
    NIBBLE_CHECK(end != std::string_view::npos, where, ": '${' without '}' in '", text, "'");
    result.append(text.substr(position, start - position))
        .append(expand_variable(text.substr(start + 2, end - start - 2), where));
    position = end + 1;
  }
  return result;
}

}  // namespace

const YamlNode* YamlNode::find(std::string_view name) const {
  const auto entry = std::find_if(children.begin(), children.end(),
                                  [&](const YamlNode& child) { return child.key == name; });
  return entry == children.end() ? nullptr : &*entry;
}

YamlNode* YamlNode::find(std::string_view name) {
  return const_cast<YamlNode*>(std::as_const(*this).find(name));
}

std::string YamlNode::describe() const {
  switch (kind) {
    case Kind::kNull:
      return "nothing";
    case Kind::kScalar:
      return "'" + text + "'";
    case Kind::kSequence: {
      std::string items;
      for (const YamlNode& child : children) {
        items += (items.empty() ? "" : ", ") + (child.is_scalar() ? child.text : child.describe());
      }
      return "[" + items + "]";
    }
    case Kind::kMap:
      return "a map";
  }
  return {};
}

bool is_null_word(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return lower.empty() || lower == "~" || lower == "null" || lower == "none";
}

YamlNode parse_yaml_document(std::string_view text, const Locate& locate) {
  YamlNode root = parse_single_document(text, locate);
  NIBBLE_CHECK(!root.is_null(), locate(1), ": the file holds no recipe");
  NIBBLE_CHECK(root.is_map(), root.where, ": expected sections such as 'model:', got ",
               root.describe());
  return root;
}

YamlNode parse_yaml_value(std::string_view text, const Locate& locate) {
  return parse_single_document(text, locate);
}

void interpolate_environment(YamlNode& node) {
  if (node.is_scalar() && node.text.find("${") != std::string::npos) {
    node.text = expand_text(node.text, node.where);
    node.kind = is_null_word(node.text) ? Kind::kNull : Kind::kScalar;
  }
  for (YamlNode& child : node.children) {
    interpolate_environment(child);
  }
}

}  // namespace nibble::train
