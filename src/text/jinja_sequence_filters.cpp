#include <algorithm>

#include "jinja_arguments.h"
#include "jinja_attributes.h"
#include "jinja_filters.h"
#include "jinja_interpreter.h"
#include "jinja_operators.h"
#include "jinja_string_literal.h"
#include "jinja_strings.h"

namespace nibble::text::jinja {
namespace {

using Next = std::function<std::optional<Value>()>;

// Jinja's generators do nothing, not even fail, before their first item is asked for.

/// iter(input), made when it is first needed.
Next deferred(const Value& input) {
  return [input, source = Next()]() mutable {
    if (!source) {
      source = iterate(input);
    }
    return source();
  };
}

/// As `deferred`, nothing for false values such as none.
Next truthy_items(const Value& input) { return deferred(truthy(input) ? input : Value::list({})); }

/// The items of make().
Value generator(std::initializer_list<const Value*> sources, std::function<Value()> make) {
  return Value::iterator(
      [make = std::move(make), source = Next()]() mutable {
        if (!source) {
          source = iterate(make());
        }
        return source();
      },
      sources);
}

/// "a.b.0" as the keys to follow; numbers become indices.
std::vector<Value> attribute_path(const Value& attribute) {
  if (!attribute.is(Kind::kString)) {
    return {attribute};
  }
  std::vector<Value> path;
  for (const std::string_view part : split(attribute.text(), ".", -1)) {
    const bool number = !part.empty() && part.find_first_not_of("0123456789") == part.npos;
    const std::optional<Integer> index = number ? parse_integer(part, 10) : std::nullopt;
    path.push_back(index ? Value::integer(*index) : Value::string(std::string(part)));
  }
  return path;
}

Value follow(Interpreter& interpreter, Value item, const std::vector<Value>& path,
             const Value* default_value = nullptr) {
  for (const Value& key : path) {
    item = interpreter.item(item, key);
    if (default_value != nullptr && item.is_undefined()) {
      item = *default_value;
    }
  }
  return item;
}

/// What sort, unique, min, max and groupby compare.
class Key {
 public:
  Key(Interpreter& interpreter, const Value* attribute, bool case_sensitive,
      const Value* default_value = nullptr)
      : interpreter_(interpreter),
        path_(attribute != nullptr && !attribute->is(Kind::kNone) ? attribute_path(*attribute)
                                                                  : std::vector<Value>()),
        case_sensitive_(case_sensitive),
        default_(default_value) {}

  Value operator()(const Value& item) const {
    const Value key = follow(interpreter_, item, path_, default_);
    if (case_sensitive_ || !key.is(Kind::kString)) {
      return key;
    }
    interpreter_.budget().allocate(key.text().size());
    return Value::string(to_lower(key.text()));
  }

 private:
  Interpreter& interpreter_;
  std::vector<Value> path_;
  bool case_sensitive_;
  const Value* default_;
};

/// Python's sorted(): stable, also in reverse.
std::vector<Value> sorted(Interpreter& interpreter, const std::vector<Value>& items,
                          const std::function<Value(const Value&)>& key, bool reverse) {
  std::vector<std::pair<Value, const Value*>> keyed;
  for (const Value& item : items) {
    interpreter.budget().allocate(2 * sizeof(Value));
    keyed.emplace_back(key(item), &item);
  }
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& a, const auto& b) {
    return reverse ? less(interpreter.budget(), b.first, a.first)
                   : less(interpreter.budget(), a.first, b.first);
  });
  std::vector<Value> result;
  for (const auto& [item_key, item] : keyed) {
    result.push_back(*item);
  }
  return result;
}

Value length_of(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  Parameters("length", arguments, {});
  if (input.is(Kind::kLoop)) {
    return Value::integer(input.as<LoopObject>().length(interpreter.budget()));
  }
  const std::optional<int64_t> count = length(input);
  NIBBLE_CHECK(count, "object of type '", type_name(input), "' has no len()");
  return Value::integer(*count);
}

Value first(Interpreter&, const Value& input, const Arguments& arguments) {
  Parameters("first", arguments, {});
  return iterate(input)().value_or(Value::undefined("no first item, the sequence was empty"));
}

/// Python's reversed() as a list; nothing where the value is not reversible.
std::optional<std::vector<Value>> reversed(Interpreter& interpreter, const Value& input) {
  if (!length(input)) {
    return std::nullopt;
  }
  std::vector<Value> items = collect(interpreter.budget(), input);
  std::reverse(items.begin(), items.end());
  return items;
}

Value last(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  Parameters("last", arguments, {});
  const std::optional<std::vector<Value>> items = reversed(interpreter, input);
  NIBBLE_CHECK(items, "'", type_name(input), "' object is not reversible");
  return items->empty() ? Value::undefined("no last item, the sequence was empty") : items->front();
}

Value reverse(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  Parameters("reverse", arguments, {});
  if (input.is(Kind::kString)) {
    return slice(interpreter.budget(), input, Value::none(), Value::none(), Value::integer(-1));
  }
  if (std::optional<std::vector<Value>> items = reversed(interpreter, input)) {
    const Value list = Value::list(std::move(*items));
    return Value::iterator(iterate(list), {&list});
  }
  std::vector<Value> items = collect(interpreter.budget(), input);
  std::reverse(items.begin(), items.end());
  return Value::list(std::move(items));
}

Value list(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  Parameters("list", arguments, {});
  return Value::list(collect(interpreter.budget(), input));
}

Value items(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  Parameters("items", arguments, {});
  return generator({&input}, [&interpreter, input] {
    NIBBLE_CHECK(input.is_undefined() || input.is(Kind::kDict),
                 "can only get item pairs from a mapping, not from a ", type_name(input));
    return input.is_undefined()
               ? Value::list({})
               : find_container_method(Kind::kDict, "items")(interpreter, input, {});
  });
}

Value join(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Parameters parameters("join", arguments, {"d", "attribute"});
  const std::string separator =
      parameters[0] != nullptr ? to_str(interpreter.budget(), *parameters[0]) : "";
  const std::vector<Value> path =
      parameters.has(1) ? attribute_path(*parameters[1]) : std::vector<Value>();
  TextBuilder out(interpreter.budget());
  const Next next = iterate(input);
  for (bool at_first = true; std::optional<Value> item = next(); at_first = false) {
    out << (at_first ? std::string_view() : std::string_view(separator));
    write_str(out, follow(interpreter, std::move(*item), path));
  }
  return Value::string(out.take());
}

Value map(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  if (!arguments.positional.empty()) {
    const Value rest = Value::list(arguments.positional);  // for the bound on depth
    Arguments inner = arguments;
    inner.positional.erase(inner.positional.begin());
    return Value::iterator(
        [&interpreter, source = truthy_items(input),
         name = to_str(interpreter.budget(), arguments.positional[0]),
         inner]() -> std::optional<Value> {
          std::optional<Value> item = source();
          if (item) {
            item = interpreter.apply_filter(name, *item, inner);
          }
          return item;
        },
        {&input, &rest});
  }
  const Parameters parameters("map", arguments, {"attribute", "default"}, 1);
  const Value otherwise = parameters.has(1) ? *parameters[1] : Value();
  return Value::iterator(
      [&interpreter, source = truthy_items(input), path = attribute_path(*parameters[0]), otherwise,
       has_default = parameters.has(1)]() -> std::optional<Value> {
        std::optional<Value> item = source();
        if (item) {
          item = follow(interpreter, *item, path, has_default ? &otherwise : nullptr);
        }
        return item;
      },
      {&input, &otherwise});
}

template <bool keeps, bool by_attribute>
Value select(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Value rest = Value::list(arguments.positional);  // for the bound on depth
  Arguments inner = arguments;
  const auto take_first = [&] {
    Value first_argument = inner.positional.front();
    inner.positional.erase(inner.positional.begin());
    return first_argument;
  };
  NIBBLE_CHECK(!by_attribute || !inner.positional.empty(),
               "the filter needs the name of an attribute");
  const std::vector<Value> path =
      by_attribute ? attribute_path(take_first()) : std::vector<Value>();
  std::optional<std::string> test;
  if (!inner.positional.empty()) {
    test = to_str(interpreter.budget(), take_first());
  }
  return Value::iterator(
      [&interpreter, source = truthy_items(input), path, inner, test]() -> std::optional<Value> {
        while (std::optional<Value> item = source()) {
          interpreter.budget().step();
          const Value subject = follow(interpreter, *item, path);
          const bool holds = test ? interpreter.apply_test(*test, subject, inner) : truthy(subject);
          if (holds == keeps) {
            return item;
          }
        }
        return std::nullopt;
      },
      {&input, &rest});
}

Value unique(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Parameters parameters("unique", arguments, {"case_sensitive", "attribute"});
  const Key key(interpreter, parameters[1], parameters.flag(0));
  auto seen = std::make_shared<DictObject>();
  return Value::iterator(
      [&interpreter, source = deferred(input), key, seen]() -> std::optional<Value> {
        while (std::optional<Value> item = source()) {
          const Value item_key = key(*item);
          const size_t before = seen->items.size();
          set_item(interpreter.budget(), *seen, item_key, Value::none());
          if (seen->items.size() > before) {
            return item;
          }
        }
        return std::nullopt;
      },
      {&input});
}

Value sort(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Parameters parameters("sort", arguments, {"reverse", "case_sensitive", "attribute"});
  std::vector<Key> keys;
  if (parameters.has(2) && parameters[2]->is(Kind::kString)) {
    for (const std::string_view attribute : split(parameters[2]->text(), ",", -1)) {
      const Value name = Value::string(std::string(attribute));
      keys.emplace_back(interpreter, &name, parameters.flag(1));
    }
  } else {
    keys.emplace_back(interpreter, parameters[2], parameters.flag(1));
  }
  const auto key = [&](const Value& item) {
    std::vector<Value> parts;
    for (const Key& part : keys) {
      parts.push_back(part(item));
    }
    return Value::list(std::move(parts));
  };
  return Value::list(
      sorted(interpreter, collect(interpreter.budget(), input), key, parameters.flag(0)));
}

template <bool largest>
Value extreme(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Parameters parameters("min/max", arguments, {"case_sensitive", "attribute"});
  const Key key(interpreter, parameters[1], parameters.flag(0));
  const Next next = iterate(input);
  std::optional<Value> best = next();
  if (!best) {
    return Value::undefined("no aggregated item, the sequence was empty");
  }
  Value best_key = key(*best);
  while (std::optional<Value> item = next()) {
    Value item_key = key(*item);
    if (largest ? less(interpreter.budget(), best_key, item_key)
                : less(interpreter.budget(), item_key, best_key)) {
      best = std::move(item);
      best_key = std::move(item_key);
    }
  }
  return *best;
}

Value sum(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Parameters parameters("sum", arguments, {"attribute", "start"});
  const std::vector<Value> path =
      parameters.has(0) ? attribute_path(*parameters[0]) : std::vector<Value>();
  Value total = parameters[1] != nullptr ? *parameters[1] : Value::integer(0);
  NIBBLE_CHECK(!total.is(Kind::kString), "sum() cannot sum strings");
  const Next next = iterate(input);
  while (std::optional<Value> item = next()) {
    total = apply_binary(interpreter.budget(), '+', total, follow(interpreter, *item, path));
  }
  return total;
}

Value dictsort(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Parameters parameters("dictsort", arguments, {"case_sensitive", "by", "reverse"});
  NIBBLE_CHECK(input.is(Kind::kDict), "dictsort needs a mapping, not a ", type_name(input));
  const std::string by =
      parameters[1] != nullptr ? to_str(interpreter.budget(), *parameters[1]) : "key";
  NIBBLE_CHECK(by == "key" || by == "value", "dictsort sorts by 'key' or 'value', not '", by, "'");
  const Value position = Value::integer(by == "key" ? 0 : 1);
  const Value pairs = find_container_method(Kind::kDict, "items")(interpreter, input, {});
  const Key key(interpreter, &position, parameters.flag(0));
  return Value::list(sorted(interpreter, pairs.items(), key, parameters.flag(2)));
}

Value batches(Interpreter& interpreter, const Value& input, int64_t size, const Value* fill) {
  std::vector<Value> result, row;
  for (Value& item : collect(interpreter.budget(), input)) {
    if (static_cast<int64_t>(row.size()) == size) {
      result.push_back(Value::list(std::exchange(row, {})));
    }
    row.push_back(std::move(item));
  }
  if (!row.empty()) {
    while (fill != nullptr && static_cast<int64_t>(row.size()) < size) {
      interpreter.budget().allocate(sizeof(Value));
      row.push_back(*fill);
    }
    result.push_back(Value::list(std::move(row)));
  }
  return Value::list(std::move(result));
}

Value batch(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Parameters parameters("batch", arguments, {"linecount", "fill_with"}, 1);
  const Value fill = parameters.has(1) ? *parameters[1] : Value::none();
  return generator({&input, &fill}, [&interpreter, input, fill, size = *parameters[0]] {
    return batches(interpreter, input, to_index(size, "linecount"),
                   fill.is(Kind::kNone) ? nullptr : &fill);
  });
}

Value slices(Interpreter& interpreter, const Value& input, int64_t count, const Value* fill) {
  NIBBLE_CHECK(count != 0, "division by zero");
  const std::vector<Value> all = collect(interpreter.budget(), input);
  const auto total = static_cast<int64_t>(all.size());
  std::vector<Value> result;
  int64_t begin = 0;
  for (int64_t i = 0; i < count; ++i) {
    interpreter.budget().allocate(4 * sizeof(Value));
    const int64_t end = begin + total / count + (i < total % count ? 1 : 0);
    std::vector<Value> part(all.begin() + begin, all.begin() + end);
    if (fill != nullptr && i >= total % count) {
      part.push_back(*fill);
    }
    result.push_back(Value::list(std::move(part)));
    begin = end;
  }
  return Value::list(std::move(result));
}

Value slice_into(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Parameters parameters("slice", arguments, {"slices", "fill_with"}, 1);
  const Value fill = parameters.has(1) ? *parameters[1] : Value::none();
  return generator({&input, &fill}, [&interpreter, input, fill, count = *parameters[0]] {
    return slices(interpreter, input, to_index(count, "slices"),
                  fill.is(Kind::kNone) ? nullptr : &fill);
  });
}

Value group(Value grouper, std::vector<Value> members) {
  const Value pair = Value::tuple({std::move(grouper), Value::list(std::move(members))});
  pair.as<SequenceObject>().is_group = true;
  return pair;
}

Value groupby(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Parameters parameters("groupby", arguments, {"attribute", "default", "case_sensitive"}, 1);
  const Value* otherwise = parameters.has(1) ? parameters[1] : nullptr;
  const Key key(interpreter, parameters[0], parameters.flag(2), otherwise);
  const Key label(interpreter, parameters[0], true, otherwise);
  std::vector<Value> groups, members;
  const auto close = [&] {
    if (!members.empty()) {
      Value grouper = label(members.front());
      groups.push_back(group(std::move(grouper), std::exchange(members, {})));
    }
  };
  Value current;
  for (Value& item : sorted(interpreter, collect(interpreter.budget(), input), key, false)) {
    Value item_key = key(item);
    if (members.empty() || !equals(interpreter.budget(), current, item_key)) {
      close();
      current = std::move(item_key);
    }
    members.push_back(std::move(item));
  }
  close();
  return Value::list(std::move(groups));
}

Value attribute(Interpreter& interpreter, const Value& input, const Arguments& arguments) {
  const Parameters parameters("attr", arguments, {"name"}, 1);
  const std::string name = to_str(interpreter.budget(), *parameters[0]);
  return find_attribute(interpreter, input, name)
      .value_or(Value::undefined("there is no attribute '" + name + "'"));
}

constexpr std::pair<std::string_view, FilterFunction> kFilters[] = {
    {"attr", attribute},
    {"batch", batch},
    {"count", length_of},
    {"dictsort", dictsort},
    {"first", first},
    {"groupby", groupby},
    {"items", items},
    {"join", join},
    {"last", last},
    {"length", length_of},
    {"list", list},
    {"map", map},
    {"max", extreme<true>},
    {"min", extreme<false>},
    {"reject", select<false, false>},
    {"rejectattr", select<false, true>},
    {"reverse", reverse},
    {"select", select<true, false>},
    {"selectattr", select<true, true>},
    {"slice", slice_into},
    {"sort", sort},
    {"sum", sum},
    {"unique", unique},
};

}  // namespace

FilterFunction find_sequence_filter(std::string_view name) {
  const auto found = std::find_if(std::begin(kFilters), std::end(kFilters),
                                  [&](const auto& entry) { return entry.first == name; });
  return found == std::end(kFilters) ? nullptr : found->second;
}

}  // namespace nibble::text::jinja
