#include <nibble/core/error.h>
#include <nibble/text/chat_template.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <string>

namespace nibble::text {
namespace {

using Json = nlohmann::ordered_json;

std::string render(const std::string& source, const Json& variables = Json::object()) {
  return ChatTemplate(source).render(Json::array(), nullptr, false, variables).text;
}

TEST(chat_template, TrimsBlocksAndStripsTheirIndentation) {
  EXPECT_EQ(render("{% if true %}\n  {% set x = 1 %}\n  a {{ x }}\n  {% endif %}\nb\n"),
            "  a 1\nb");
}

}  // namespace
}  // namespace nibble::text
