#pragma once

#include <string_view>

#include "jinja_value.h"

/// Python's operators on template values. They fail where Python raises.
namespace nibble::text::jinja {

/// op: '-' or '+'
Value apply_unary(char op, const Value& operand);
/// op: '+', '-', '*', '/', '%', 'f' (//), 'p' (**)
Value apply_binary(Budget& budget, char op, const Value& left, const Value& right);
/// op: "==", "!=", "<", "<=", ">", ">=", "in", "not in"
bool compare(Budget& budget, std::string_view op, const Value& left, const Value& right);
bool contains(Budget& budget, const Value& container, const Value& item);
/// object[start:stop:step]; none for a bound that is absent.
Value slice(Budget& budget, const Value& object, const Value& start, const Value& stop,
            const Value& step);
/// Adds to a dict under construction; fails on an unhashable key.
void set_item(Budget& budget, DictObject& dict, const Value& key, Value value);

/// An integer that fits, for indices and counts; `what` names it in the error.
int64_t to_index(const Value& value, std::string_view what);

}  // namespace nibble::text::jinja
