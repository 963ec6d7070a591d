#include "quickstart/redaction_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>

namespace quickstart {
namespace {

using ::testing::IsEmpty;
using ::testing::Not;

/// What the rows are made of: the data by placeholder, and the text around it.
struct Contents {
  std::map<std::string, std::set<std::string>> values;
  std::set<std::string> phrases;
};

/// Walks both messages: the text between two placeholders stands in the input too.
void add(const RedactionRow& row, Contents& contents) {
  size_t input = 0, output = 0;
  while (true) {
    const size_t open = row.output.find('[', output);
    const std::string text = row.output.substr(output, open - output);
    ASSERT_EQ(row.input.compare(input, text.size(), text), 0) << row.input << "\n" << row.output;
    input += text.size();
    if (text.size() > 12) contents.phrases.insert(text);
    if (open == std::string::npos) break;
    const size_t close = row.output.find(']', open);
    const size_t next = row.output.find('[', close);
    const std::string after = row.output.substr(close + 1, next - close - 1);
    // The last one ends before the full stop that ends the message.
    const size_t end = next == std::string::npos ? row.input.size() - after.size()
                                                 : row.input.find(after, input + 1);
    ASSERT_NE(end, std::string::npos) << row.input << "\n" << row.output;
    contents.values[row.output.substr(open, close - open + 1)].insert(
        row.input.substr(input, end - input));
    input = end;
    output = close + 1;
  }
  EXPECT_EQ(input, row.input.size());
}

Contents contents_of(Part part, uint64_t seed) {
  Contents contents;
  for (const RedactionRow& row : make_redaction_rows(part, 2000, seed)) add(row, contents);
  return contents;
}

std::set<std::string> shared(const std::set<std::string>& a, const std::set<std::string>& b) {
  std::set<std::string> both;
  for (const std::string& value : a) {
    if (b.count(value) > 0) both.insert(value);
  }
  return both;
}

TEST(RedactionRows, NothingHeldOutStandsInTraining) {
  const Contents training = contents_of(Part::kTraining, 1);
  const Contents held_out = contents_of(Part::kHeldOut, 1);
  EXPECT_THAT(shared(training.phrases, held_out.phrases), IsEmpty());
  for (const char* kind : {"[NAME]", "[PHONE]", "[DATE]", "[EMAIL]", "[IBAN]", "[ORDER]"}) {
    ASSERT_THAT(training.values.at(kind), Not(IsEmpty())) << kind;
    EXPECT_THAT(shared(training.values.at(kind), held_out.values.at(kind)), IsEmpty()) << kind;
  }
}

TEST(RedactionRows, DependOnTheSeedOnly) {
  const auto rows = [](uint64_t seed) {
    return to_jsonl(make_redaction_rows(Part::kTraining, 20, seed));
  };
  EXPECT_EQ(rows(3), rows(3));
  EXPECT_NE(rows(3), rows(4));
  EXPECT_TRUE(rows(3).starts_with(to_jsonl(make_redaction_rows(Part::kTraining, 5, 3))))
      << "more rows begin with the same ones";
}

}  // namespace
}  // namespace quickstart
