#pragma once

#include <algorithm>
#include <deque>
#include <string>
#include <unordered_set>
#include <vector>

#include "jinja_ast.h"

namespace nibble::text::jinja {

/// Follows which names each scope reads and writes while the template is parsed, as Jinja's
/// compiler does (idtracking.py): a name whose first appearance in a scope is an assignment outside
/// of any `if`, unknown to the scopes around it, starts unset.
class FrameTracker {
 public:
  FrameId open() {
    frames_.push_back({current_, {}, {}, 0});
    current_ = frames_.size() - 1;
    return current_;
  }
  void reopen(FrameId id) { current_ = id; }
  void close() { current_ = frames_[current_].parent; }

  void load(const std::string& name) {
    if (!known(current_, name)) {
      frames_[current_].names.insert(name);
    }
  }
  void store(const std::string& name) {
    Frame& frame = frames_[current_];
    if (frame.names.insert(name).second && frame.if_depth == 0) {
      frame.stored_first.push_back(name);
    }
  }
  void declare(const std::string& parameter) { frames_[current_].names.insert(parameter); }

  void enter_if() { ++frames_[current_].if_depth; }
  void leave_if() { --frames_[current_].if_depth; }

  std::vector<std::vector<std::string>> unset_names() const {
    std::vector<std::vector<std::string>> result(frames_.size());
    for (FrameId id = 0; id < frames_.size(); ++id) {
      for (const std::string& name : frames_[id].stored_first) {
        if (id == 0 || !known(frames_[id].parent, name)) {
          result[id].push_back(name);
        }
      }
    }
    return result;
  }

 private:
  struct Frame {
    FrameId parent = 0;
    std::unordered_set<std::string> names;
    std::vector<std::string> stored_first;
    int if_depth = 0;
  };

  bool known(FrameId id, const std::string& name) const {
    while (!frames_[id].names.contains(name)) {
      if (id == 0) {
        return false;
      }
      id = frames_[id].parent;
    }
    return true;
  }

  std::deque<Frame> frames_;
  FrameId current_ = 0;
};

}  // namespace nibble::text::jinja
