#include <nibble/core/error.h>
#include <nibble/text/chat_template.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <string>
#include <utility>
#include <vector>

// Expected values: Jinja 3.1.6 in the environment of transformers' render_jinja_template.

namespace nibble::text {
namespace {

using Json = nlohmann::ordered_json;
using ::testing::HasSubstr;

const Json kVariables = Json::parse(R"json({
  "n": 5, "s": "Hello World", "u": "h\u00e9llo \u2713", "l": [3, 1, 2], "empty": [], "nothing": null,
  "d": {"b": 1, "a": [1, 2.0, null], "items": "it"},
  "people": [{"n": "x", "v": 3, "k": {"z": 1}}, {"n": "Y", "v": 1}, {"n": "z", "v": 2}]
})json");

RenderedChat render_chat(const std::string& source, const Json& messages = Json::array()) {
  return ChatTemplate(source).render(messages, nullptr, false, kVariables);
}

std::string render(const std::string& source) { return render_chat(source).text; }

std::string error_of(const std::string& source) {
  try {
    return "no error, but: " + render(source).substr(0, 200);
  } catch (const Error& error) {
    return error.what();
  }
}

struct Rendering {
  std::string source, expected;
};

void expect_all(const std::vector<Rendering>& cases) {
  for (const auto& [source, expected] : cases) {
    SCOPED_TRACE(source);
    try {
      EXPECT_EQ(render(source), expected);
    } catch (const Error& error) {
      ADD_FAILURE() << error.what();
    }
  }
}

void expect_refused(const std::vector<std::string>& sources) {
  for (const std::string& source : sources) {
    EXPECT_THROW(render(source), Error) << source;
  }
}

TEST(chat_template, AppliesWhiteSpaceControl) {
  expect_all({
      {"{% if n %}\n    a\n  {% endif %}\n\nb\n", "    a\n\nb"},
      {"  {{ n }}\n  {% set x = 1 %}  \n b", "  5\n  \n b"},
      {"a\r\nb\rc\n", "a\nb\nc"},
      {"a\n\n", "a\n"},
      {"", ""},
      {"x {%- if n -%}  y  {%- endif -%} z", "xyz"},
      {"x {%+ if n +%}\n  y\n  {%+ endif +%}\n z", "x \n  y\n  \n z"},
      {"{{- n -}}  x  {{- n }} y", "5x5 y"},
      {"{# c #}\nx", "x"},
      {"a {#- b -#} y", "ay"},
      {"  {%- raw -%}  {{ x }}  {%- endraw -%}  z", "{{ x }}z"},
      {"{% raw %}\n x{% endraw %}\n\ny", "\n x\ny"},
      {"{%raw%}{{ n }}{% if %}{%endraw%}", "{{ n }}{% if %}"},
      {"\302\240{% if true %}x{% endif %}", "x"},
      {"{%- generation -%}  a  {%- endgeneration -%}  b", "ab"},
      {"{% set x %}\n a\n{% endset %}\n[{{ x }}]", "[ a\n]"},
      {"a {% raw %}", "a "},
      {"{{ {'a': {'b': 1}} }}{{ '}}' }}{ % }", "{'a': {'b': 1}}}}{ % }"},
  });
}

TEST(chat_template, RunsStatements) {
  expect_all({
      {"{% for x in l %}{{ loop.index }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ "
       "loop.revindex0 }} {% endfor %}",
       "1TrueFalse32 2FalseFalse31 3FalseTrue30 "},
      {"{% for x in l %}{{ loop.previtem }}<{{ loop.nextitem }};{% endfor %}", "<1;3<2;1<;"},
      {"{% for x in l if x > 1 %}{{ x }}{{ loop.index }}/{{ loop.length }} {% else %}E{% endfor %}",
       "31/2 22/2 "},
      {"{% for x in empty %}a{% else %}none{% endfor %}", "none"},
      {"{% for x in range(9) %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 4 %}{% break "
       "%}{% endif %}{{ x }}{% endfor %}",
       "013"},
      {"{% for x in l %}{% break %}{% else %}also{% endfor %}", "also"},
      {"{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", "b=1;a=[1, 2.0, None];items=it;"},
      {"{% for a, (b, c) in [(1, (2, 3))] %}{{ a + b + c }}{% endfor %}", "6"},
      {"{% for x in [1, [2, [3]]] recursive %}{{ loop.depth }}{% if x is iterable %}({{ loop(x) "
       "}}){% else %}{{ x }}{% endif %}{% endfor %}",
       "111(222(33))"},
      {"{% for x in l %}{{ loop.cycle('a', 'b') }}{{ loop.changed(x > 1) }}{% endfor %}",
       "aTruebTrueaTrue"},
      {"{% if n > 9 %}A{% elif n > 4 %}B{% else %}C{% endif %}", "B"},
      {"{% set ns = namespace(x=0) %}{% for i in l %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x "
       "}}",
       "6"},
      {"{% set a, b = 1, 2 %}{{ b }}{{ a }}", "21"},
      {"{% set x | upper | replace('H', 'J') %}hello {{ n }}{% endset %}{{ x }}", "JELLO 5"},
      {"{% macro m(a, b=2, c=a) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }} {{ m(1, c=9) }} {{ "
       "m(b=1) }}",
       "121 129 1"},
      {"{% macro m(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, x=3) }}",
       "1(2,){'x': 3}"},
      {"{% macro m(n) %}{{ n }}{% if n %}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(5) }}",
       "543210"},
      {"{% macro m() %}[{{ caller(1) }}]{% endmacro %}{% call(a, b=5) m() %}{{ a }}{{ b }}{{ n "
       "}}{% endcall %}",
       "[155]"},
      {"{% with a = n, n = 3 %}{{ a }}{{ n }}{% endwith %}{{ n }}", "535"},
      {"{% filter upper %}abc {{ n }}{% endfilter %}", "ABC 5"},
      {"{% print n, 'a' %}", "5a"},
      {"{% set x = l | map('string') %}{{ x | join }}{{ x | join }}|", "312|"},
      {"{% if false %}{{ n | unknown }}{% endif %}ok", "ok"},
      {"{{ 'ok' if true else n is unknown }}", "ok"},
      {"{{ joiner is defined }}{% set j = joiner('-') %}{{ j() }}{{ j() }}", "True-"},
  });
}

TEST(chat_template, ScopesNamesAsJinjasCompiler) {
  expect_all({
      {"{% set x = 1 %}{% for i in l %}{% set x = x + i %}{{ x }} {% endfor %}{{ x }}", "4 2 3 1"},
      {"{% set x = 1 %}{% if true %}{% set x = 2 %}{% endif %}{{ x }}", "2"},
      {"{% for m in l %}{{ n }}{% endfor %}{% set n = 1 %}{{ n }}", "1"},
      {"{% if false %}{% set n = 1 %}{% endif %}{{ n }}", "5"},
      {"{% set n %}{{ n }}x{% endset %}{{ n }}", "x"},
      {"{% macro m() %}{{ n }}{% endmacro %}{{ m() }}{% set n = 7 %}{{ m() }}", "7"},
      {"{% for m in l %}{% if m == 1 %}{% set n = 'A' %}{% endif %}{{ n }}{% endfor %}{{ n }}",
       "5A55"},
      {"{% for x in l if loop is defined %}{{ x }}{% endfor %}|", "|"},
      {"{% for x in l %}{% for y in l if loop.index == 1 %}{{ x }}{{ y }} {% endfor %}{% endfor %}",
       "33 31 32 "},
      {"{% generation %}{% set y = 1 %}{% endgeneration %}[{{ y }}]", "[]"},
      {"{% for n in [n] %}{{ n }}{% endfor %}", "5"},
  });
}

TEST(chat_template, EvaluatesOperatorsAsPython) {
  expect_all({
      {"{{ -7 // 2 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 7.5 // -2 }} {{ -7.5 % 2 }} {{ 7 / 2 }} {{ 2 ** "
       "-1 }}",
       "-4 2 -2 -4.0 0.5 3.5 0.5"},
      {"{{ 2 ** 3 ** 2 }} {{ -2 ** 2 }} {{ (1 ~ 2) + '3' }} {{ 2 ** 100 }}",
       "64 4 123 1267650600228229401496703205376"},
      {"{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 1 == 1.0 == true }} {{ 'a' < 'b' }} {{ [1, 2] < [1, 3] "
       "}}",
       "True False True True True"},
      {"{{ 0 or 'x' }} {{ 1 and 2 }} {{ '' or none }} {{ not 1 == 2 }}", "x 2 None True"},
      {"{{ 'ell' in s }} {{ 3 not in l }} {{ 'a' in d }} {{ 1 in nobody }}",
       "True False True False"},
      {"{{ l[::-1] }} {{ l[-2:] }} {{ s[10:2:-2] }} {{ range(10)[::3] }} {{ (1, 2, 3)[1:] }}",
       "[2, 1, 3] [1, 2] drWo range(0, 10, 3) (2, 3)"},
      {"{{ l[9] }}|{{ l['a'] }}|{{ d.zz }}|{{ n.x }}|{{ nothing.x }}|{{ d['items'] }}|{{ d.items() "
       "| list | length }}",
       "|||||it|3"},
      {"{{ 'a' if n > 9 }}|{{ 1 if 0 else 2 if 0 else 3 }}", "|3"},
      {"{{ '%s-%05.1f|%-4s|%x|%r|%%' % ('a', 3.14159, 'b', 255, 'q') }} {{ '%(a)s' % {'a': 1} }}",
       "a-003.1|b   |ff|'q'|% 1"},
      {"{{ s * 2 }} {{ 2 * l }} {{ l + [4] }} {{ true + true }} {{ 'a' 'b' }}",
       "Hello WorldHello World [3, 1, 2, 3, 1, 2] [3, 1, 2, 4] 2 ab"},
      {"{{ nobody ~ 'x' }} {{ nobody == nobody2 }} {{ nobody is defined }} {{ not nobody }}",
       "x True False True"},
      {"{{ ('<'|safe) + '<' }} {{ '<' + ('&'|e) }}", "<&lt; &lt;&amp;"},
  });
}

TEST(chat_template, CountsCodePoints) {
  expect_all({
      {"{{ u | length }} {{ u[1] }} {{ u[-1] }} {{ u[::-1] }} {{ u[1:3] }} {{ u.find('l') }} {{ u "
       "| list }}",
       "7 \303\251 \342\234\223 \342\234\223 oll\303\251h \303\251l 2 ['h', '\303\251', 'l', 'l', "
       "'o', ' ', '\342\234\223']"},
      {"{{ u | upper }} {{ '\303\237' | upper }} {{ '\316\221\316\243' | lower }} {{ "
       "'\303\251t\303\251' | capitalize }}",
       "H\303\211LLO \342\234\223 SS \316\261\317\202 \303\211t\303\251"},
      {"{{ '\343\200\200x\302\240' | trim }}| {{ ('x\342\200\213' | trim) | length }}", "x| 2"},
      {"{{ '\\u00e9\\x41\\101\\q\\U0001F600' }} {{ '\\\303\251' }}",
       "\303\251AA\\q\360\237\230\200 \\xe9"},
      {"{% for c in u %}{{ c }}.{% endfor %}", "h.\303\251.l.l.o. .\342\234\223."},
  });
}

TEST(chat_template, PrintsValuesAsPython) {
  expect_all({
      {"{{ [1, 'a', none, true, 1.5, [], (), (1,), {'k': 'v'}] }}",
       "[1, 'a', None, True, 1.5, [], (), (1,), {'k': 'v'}]"},
      {"{{ [\"it's\", '\"', 'it\\'s \"x\"', '\\n\\t\\\\ \\x07 \303\251 \\u200b'] }}",
       "[\"it's\", '\"', 'it\\'s \"x\"', '\\n\\t\\\\ \\x07 \303\251 \\u200b']"},
      {"{{ 1e16 }} {{ 123456789.125 }} {{ 1.5e-7 }} {{ 0.0001 }} {{ 1e22 }} {{ -0.0 }} {{ 5.0 }} "
       "{{ 0.1 + 0.2 }}",
       "1e+16 123456789.125 1.5e-07 0.0001 1e+22 -0.0 5.0 0.30000000000000004"},
      {"{{ d }} {{ d.keys() }} {{ d.items() }} {{ range(1, 5, 2) }} {{ [nobody] }}",
       "{'b': 1, 'a': [1, 2.0, None], 'items': 'it'} dict_keys(['b', 'a', 'items']) "
       "dict_items([('b', 1), ('a', [1, 2.0, None]), ('items', 'it')]) range(1, 5, 2) [Undefined]"},
      {"{{ nothing }}{{ true }}{{ nobody }}{{ 'inf' | float }}", "NoneTrueinf"},
  });
}

TEST(chat_template, WritesJsonAsPython) {
  expect_all({
      {"{{ d | tojson }}", "{\"b\": 1, \"a\": [1, 2.0, null], \"items\": \"it\"}"},
      {"{{ d | tojson(indent=2) }}",
       "{\n  \"b\": 1,\n  \"a\": [\n    1,\n    2.0,\n    null\n  ],\n  \"items\": \"it\"\n}"},
      {"{{ [[], {}, [1]] | tojson(indent=1) }}", "[\n [],\n {},\n [\n  1\n ]\n]"},
      {"{{ 'a\"b\\\\c\\n\\x01\\x7f/\303\251<' | tojson }} {{ '\303\251\360\237\230\200\\x7f' | "
       "tojson(ensure_ascii=true) }}",
       "\"a\\\"b\\\\c\\n\\u0001\177/\303\251<\" \"\\u00e9\\ud83d\\ude00\\u007f\""},
      {"{{ {'b': 1, 'a': (1, 2)} | tojson(separators=(',', ':'), sort_keys=true) }}",
       "{\"a\":[1,2],\"b\":1}"},
      {"{{ {1: 2, none: 3, true: 4, 1.5: 5} | tojson }} {{ 1e22 | tojson }} {{ ('nan' | float) | "
       "tojson }}",
       "{\"1\": 4, \"null\": 3, \"1.5\": 5} 1e+22 NaN"},
      {"{{ [1] | tojson(indent='--') }}", "[\n--1\n]"},
  });
}

TEST(chat_template, AppliesFiltersAndTests) {
  expect_all({
      {"{{ people | selectattr('v', '>', 1) | map(attribute='n') | join(',') }}", "x,z"},
      {"{{ people | rejectattr('k', 'defined') | map(attribute='n') | list }} {{ people | "
       "map(attribute='k.z', default='D') | list }}",
       "['Y', 'z'] [1, 'D', 'D']"},
      {"{{ people | sort(attribute='n') | map(attribute='v') | list }} {{ l | sort(reverse=true) "
       "}} {{ ['b', 'A'] | sort }} {{ ['b', 'A'] | sort(case_sensitive=true) }}",
       "[3, 1, 2] [3, 2, 1] ['A', 'b'] ['A', 'b']"},
      {"{{ people | groupby('v') | map(attribute='grouper') | list }} {{ people | "
       "sum(attribute='v') }} {{ l | max }} {{ ['a', 'A', 'b'] | unique | list }}",
       "[1, 2, 3] 6 3 ['a', 'b']"},
      {"{{ l | select('odd') | list }} {{ l | reject('gt', 1) | list }} {{ [0, '', 'a'] | select | "
       "list }} {{ l | reverse | list }}",
       "[3, 1] [1] ['a'] [2, 1, 3]"},
      {"{{ l | first }} {{ l | last }} {{ empty | first }}| {{ l | batch(2, 'x') | list }} {{ l | "
       "slice(2) | list }} {{ d | dictsort }}",
       "3 2 | [[3, 1], [2, 'x']] [[3, 1], [2]] [('a', [1, 2.0, None]), ('b', 1), ('items', 'it')]"},
      {"{{ '42.9' | int }} {{ 'x' | int(7) }} {{ '0x1F' | int(0, 16) }} {{ ' 1_0 ' | int }} {{ "
       "'1e3' | float }} {{ nothing | int }} {{ 2.5 | round }} {{ 2.567 | round(2) }} {{ 1250 | "
       "round(-2) }} {{ -3 | abs }}",
       "42 7 31 10 1000.0 0 2.0 2.57 1200 3"},
      {"{{ nobody | default('D') }} {{ '' | default('D') }} {{ '' | d('D', true) }} {{ nothing | "
       "default('D') }}",
       "D  D None"},
      {"{{ 'a\\n\\nb' | indent(2) }}|{{ 'a\\nb' | indent('>', first=true) }}|{{ 'foo bar-baz' | "
       "title }} {{ 'abc' | center(6) }}|{{ s | truncate(8, true, '..', 0) }} {{ s | wordcount }}",
       "a\n\n  b|>a\n>b|Foo Bar-Baz  abc  |Hello .. 2"},
      {"{{ 'xxaxx' | trim('x') }} {{ n | replace(5, 6) }} {{ 'aaa' | replace('a', 'b', 2) }} {{ "
       "'%s!' | format('x') }}",
       "a 6 bba x!"},
      {"{{ n is divisibleby 5 }} {{ n is odd }} {{ s is string }} {{ d is mapping }} {{ s is "
       "sequence }} {{ d.items() is sequence }} {{ true is number }} {{ true is integer }} {{ n is "
       "in l }} {{ 3 is in(l) }} {{ nothing is none }} {{ 1 is sameas true }} {{ 'AB' is upper }} "
       "{{ 'upper' is filter }} {{ n is not string }}",
       "True True True True True False True False False True True False True True True"},
  });
}

TEST(chat_template, CallsMethods) {
  expect_all({
      {"{{ ' a  b '.split() }} {{ 'a,b,c'.split(',', 1) }} {{ 'a b c'.rsplit(none, 1) }} {{ "
       "'a\\nb\\r\\n'.splitlines() }} {{ 'a-b'.partition('-') }}",
       "['a', 'b'] ['a', 'b,c'] ['a b', 'c'] ['a', 'b'] ('a', '-', 'b')"},
      {"{{ "
       "'x<think>\\na\\n</think>y'.split('</"
       "think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') }}",
       "a"},
      {"{{ s.startswith(('x', 'H')) }} {{ s.endswith('lo', 0, 5) }} {{ s.find('o', 5) }} {{ "
       "s.find('z') }} {{ s.count('l') }} {{ ''.replace('', 'x') }} {{ 'ab'.replace('', '-') }}",
       "True True 7 -1 3 x -a-b-"},
      {"{{ 'hello world'.title() }} {{ s.swapcase() }} {{ '-5'.zfill(4) }} {{ 'xy'.center(5, '*') "
       "}} {{ 'abc'.removeprefix('a') }} {{ '-'.join(['a', 'b']) }}",
       "Hello World hELLO wORLD -005 **xy* bc a-b"},
      {"{{ '{0} {x!r:>4} {0:05d} {1[a]}'.format(n, {'a': 2}, x='q') }} {{ '{:,.2f} "
       "{:^5}|{{}}'.format(1234.5, 'm') }}",
       "5  'q' 00005 2 1,234.50   m  |{}"},
      {"{{ d.get('b') }} {{ d.get('zz', 3) }} {{ d.keys() | list }} {{ d.values() | list }} {{ "
       "l.index(2) }} {{ l.count(1) }} {{ dict(d, b=2).b }}",
       "1 3 ['b', 'a', 'items'] [1, [1, 2.0, None], 'it'] 2 1 2"},
      {"{{ '12'.isdigit() }} {{ 'aB'.islower() }} {{ ' '.isspace() }} {{ 'ab1'.isalnum() }}",
       "True False True True"},
  });
}

TEST(chat_template, RefusesWhatJinjaRefuses) {
  expect_refused({
      "{{ nobody.x }}",
      "{{ nobody + 1 }}",
      "{{ nobody() }}",
      "{{ 1 / 0 }}",
      "{{ 1 + s }}",
      "{{ s - 1 }}",
      "{{ l['a':] }}",
      "{{ l[::0] }}",
      "{{ nothing[0:1] }}",
      "{{ 1 in s }}",
      "{{ 1 < 'a' }}",
      "{{ [] in d }}",
      "{{ {[]: 1} }}",
      "{{ n | length }}",
      "{{ people | selectattr('v') | length }}",
      "{{ n | unknown }}",
      "{{ n is unknown }}",
      "{% for x in empty %}{{ x | unknown }}{% endfor %}",
      "{% if false %}{% for x in empty %}{{ x | unknown }}{% endfor %}{% endif %}",
      "{% for x in n %}{% endfor %}",
      "{% for a, b in [1] %}{% endfor %}",
      "{% set a, b = [1] %}",
      "{% set d.x = 1 %}",
      "{% set ns = namespace() %}{% set ns._x = 1 %}",
      "{{ namespace(_x=1) }}",
      "{% break %}",
      "{% for x in l %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}",
      "{% for x in l %}{% set loop = 1 %}{% endfor %}",
      "{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}",
      "{% macro m(a) %}{% endmacro %}{{ m(x=1) }}",
      "{% macro m(a=1, b) %}{% endmacro %}",
      "{% macro m(a, a=1) %}{% endmacro %}",
      "{% macro m() %}x{% endmacro %}{% call m() %}b{% endcall %}",
      "{% set true = 1 %}",
      "{% if n %}",
      "{% endif %}",
      "{% foo %}",
      "{{ n",
      "{{ 'a }}",
      "{{ (n }}",
      "{{ n) }}",
      "{{ [n) }}",
      "{{ @ }}",
      "{{ }}",
      "{{ n n }}",
      "{{ f(a=1, 2) }}",
      "{{ dict(a=1, a=2) }}",
      "{# a",
      "{% raw %}a",
      "{{ '\\x4' }}",
      "{{ '\\ud800' }}",
      "{{ ['b', 1] | sort }}",
      "{{ range(3) | tojson }}",
      "{{ nobody | tojson }}",
      "{{ range(100001) }}",
      "{{ range(1, 2, 0) }}",
      "{{ l | sum(start='a') }}",
      "{{ '%d' % 'x' }}",
      "{{ '%s %s' % 'x' }}",
      "{{ '{}'.format() }}",
      "{{ s.split('') }}",
      "{{ 0 ** -1 }}",
      "{{ n is odd is even }}",
      "{{ s.upper(1) }}",
      "{{ d.get([]) }}",
  });
}

TEST(chat_template, CountsGenerationSpansAsTransformers) {
  using Span = std::pair<size_t, size_t>;
  const std::vector<std::pair<std::string, std::vector<Span>>> cases = {
      {"a{% generation %}bc{% endgeneration %}", {{1, 3}}},
      {"{{ u }}{% generation %}{{ u }}{% endgeneration %}{{ u }}", {{10, 20}}},
      {"{% for x in l %}-{% generation %}{{ x }}{% endgeneration %}{% endfor %}",
       {{1, 2}, {3, 4}, {5, 6}}},
      {"{% generation %}a{% generation %}b{% endgeneration %}c{% endgeneration %}",
       {{0, 1}, {0, 3}}},
      {"{% set x %}{% generation %}ab{% endgeneration %}{% endset %}zz{{ x }}", {{0, 2}}},
      {"{% macro m() %}pp{% generation %}ab{% endgeneration %}{% endmacro %}zz{{ m() }}{{ m() }}",
       {{2, 4}, {6, 8}}},
      {"{% generation %}{% endgeneration %}", {{0, 0}}},
      {"none", {}},
  };
  for (const auto& [source, expected] : cases) {
    SCOPED_TRACE(source);
    std::vector<Span> spans;
    for (const ByteSpan& span : render_chat(source).generation_spans) {
      spans.emplace_back(span.begin, span.end);
    }
    EXPECT_EQ(spans, expected);
  }
}

TEST(chat_template, AliasesTheReasoningOfMessages) {
  const Json messages = Json::parse(R"([{"role": "assistant", "reasoning": "because"}])");
  EXPECT_EQ(render_chat("{{ messages[0] }}", messages).text,
            "{'thinking': 'because', 'role': 'assistant', 'reasoning': 'because', "
            "'reasoning_content': 'because'}");
}

TEST(chat_template, ToolsAndDocumentsAreNone) {
  EXPECT_EQ(render("{{ tools is none }}{{ documents is none }}{{ add_generation_prompt }}"),
            "TrueTrueFalse");
}

TEST(chat_template, FormatsTheTime) {
  EXPECT_THAT(render("{{ strftime_now('%Y-%%-%f') }}"),
              ::testing::ContainsRegex("^2[0-9]{3}-%-[0-9]{6}$"));
}

TEST(chat_template, KeepsIntegersOf64Bits) {
  const Json messages = Json::parse(R"([{"a": 18446744073709551615, "b": -9223372036854775808}])");
  EXPECT_EQ(render_chat("{{ messages[0] | tojson }}", messages).text,
            R"({"a": 18446744073709551615, "b": -9223372036854775808})");
}

TEST(chat_template, NamesTheLineOfAnError) {
  EXPECT_THAT(error_of("a\n\n{{ n + s }}"), HasSubstr("line 3"));
  EXPECT_THAT(error_of("a\n{% if n %}\n{% endfor %}"), HasSubstr("line 3"));
  EXPECT_THAT(error_of("{{ 1 }}\n{{ raise_exception('wrong ' ~ n) }}"),
              AllOf(HasSubstr("line 2"), HasSubstr("wrong 5")));
  EXPECT_THAT(error_of("\n{{ nobody.name }}"),
              AllOf(HasSubstr("line 2"), HasSubstr("'nobody' is undefined")));
}

TEST(chat_template, RefusesTagsThatReadOtherFiles) {
  EXPECT_THAT(error_of("{% include 'x' %}"), HasSubstr("unknown or unsupported tag 'include'"));
  EXPECT_THAT(error_of("{% import 'x' as y %}"), HasSubstr("unsupported tag"));
  EXPECT_THAT(error_of("{{ s.__class__.__mro__ }}"), HasSubstr("unsafe"));
  EXPECT_THAT(error_of("{{ l.append(1) }}"), HasSubstr("may not"));
}

TEST(chat_template, BoundsWorkAndMemory) {
  const std::vector<std::string> hostile = {
      "{{ 'a' * 10**12 }}",
      "{{ [1] * 10**12 }}",
      "{{ range(10**12) | list }}",
      "{{ '%999999999d' % 1 }}",
      "{{ '{:>999999999}'.format(1) }}",
      "{{ s.center(10**12) }}",
      "{{ s | indent(10**12) }}",
      "{{ l | batch(10**12, 1) | list }}",
      "{{ l | slice(10**12) | list }}",
      "{{ l | tojson(indent=10**9) }}",
      "{{ 10**1000000 }}",
      "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
      "{% set ns = namespace(x='ab') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% "
      "endfor %}",
      "{% set ns = namespace(x=[1]) %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% "
      "endfor %}",
      "{% set ns = namespace(x='a') %}{% for i in range(99) %}{% set ns.x = ns.x | replace('a', "
      "ns.x) "
      "~ 'aa' %}{% endfor %}",
      "{% set x = 'a' * 1000000 %}{{ ([x] * 100000) | join }}",
      "{% set ns = namespace(x=1) %}{% for i in range(9999) %}{% set ns.x = [ns.x] %}{% endfor %}",
      "{% set ns = namespace(x=l) %}{% for i in range(9999) %}{% set ns.x = ns.x | map('int') "
      "%}{% endfor %}{{ ns.x | list }}",
      "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
      "{% for x in l recursive %}{{ loop(l) }}{% endfor %}",
      "{% macro m() %}{{ caller() }}{% endmacro %}{% macro r() %}{% call m() %}{{ r() }}{% endcall "
      "%}{% endmacro %}{{ r() }}",
  };
  expect_refused(hostile);
}

TEST(chat_template, BoundsTheWorkOnPartsThatAreShared) {
  // Nested 100 deep, these tuples have 2^100 leaves.
  const std::string nest =
      "{% set a = namespace(x=(), y=()) %}{% for i in range(100) %}{% set a.x = (a.x, a.x) %}"
      "{% set a.y = (a.y, a.y) %}{% endfor %}";
  expect_all(
      {{nest + "{{ {a.x: 1} | length }} {{ a.x in {} }} {{ {}.get(a.x) }}", "1 False None"}});
  // Nested 20 deep, one comparison is cheap and a million of them are not.
  const std::string shallow =
      "{% set a = namespace(x=(), y=()) %}{% for i in range(20) %}{% set a.x = (a.x, a.x) %}"
      "{% set a.y = (a.y, a.y) %}{% endfor %}{% set d = {a.x: 1} %}";
  expect_all({{shallow + "{{ d[a.y] }}", "1"}});
  expect_refused({
      nest + "{{ {a.x: 1}[a.y] }}",
      nest + "{{ a.x in [a.y] }}",
      nest + "{{ a.x < a.y }}",
      nest + "{{ a.x | string }}",
      shallow + "{% for i in range(99999) %}{{ d[a.y] }}{% endfor %}",
      shallow + "{% for i in range(99999) %}{{ d == {a.y: 1} }}{% endfor %}",
      "{% set x = 'a' * 10**7 %}{% set y = 'a' * 10**7 %}{% for i in range(99999) %}{{ x < y }}"
      "{% endfor %}",
  });
}

TEST(chat_template, BoundsTheNamesOfACallAndOfAMacro) {
  const auto names = [](int count, const std::string& behind) {
    std::string list;
    for (int i = 0; i < count; ++i) list += (i == 0 ? "n" : ", n") + std::to_string(i) + behind;
    return list;
  };
  expect_all(
      {{"{{ dict(" + names(1000, "=1") + ") | length }}", "1000"},
       {"{% macro m(" + names(1000, "") + ") %}{{ n999 }}{% endmacro %}{{ m(n999=7) }}", "7"}});
  expect_refused({"{{ dict(" + names(1001, "=1") + ") }}",
                  "{% macro m(" + names(1001, "") + ") %}{% endmacro %}"});
}

TEST(chat_template, SearchesInLinearTime) {
  // Comparing anew at every position would take 10^12 steps for each of these.
  const std::string texts =
      "{% set x = 'a' * 3000000 %}{% set y = 'a' * 1000000 %}{% set z = 'b' ~ y %}"
      "{% set y = y ~ 'b' %}";
  expect_all({
      {texts + "{{ x.find(y) }} {{ x.rfind(z) }} {{ x.count(y) }} {{ y in x }} "
               "{{ x.split(y) | length }} {{ x.rsplit(z) | length }} {{ x.replace(y, '') == x }} "
               "{{ x.partition(y)[1] }}|{{ x.rpartition(z)[1] }}",
       "-1 -1 0 False 1 1 True |"},
  });
  const std::string words =
      "{% set w = 'abcabcabd' * 9 %}{% set x = 'abcabc' ~ w ~ '-' ~ w ~ 'abcabcabc' %}";
  expect_all({
      {words + "{{ x.find(w) }} {{ x.find(w, 7) }} {{ x.rfind(w) }} {{ x.count(w) }} {{ w in x }} "
               "{{ x.split(w) }} {{ x.rsplit(w, 1)[1] }} {{ x.replace(w, '+') }} "
               "{{ x.find(w ~ 'x') }} {{ x.rfind('x' ~ w) }}",
       "6 88 88 2 True ['abcabc', '-', 'abcabcabc'] abcabcabc abcabc+-+abcabcabc -1 -1"},
  });
}

TEST(chat_template, BoundsTheDepthOfTheSyntax) {
  const auto repeat = [](const std::string& piece, int count) {
    std::string out;
    for (int i = 0; i < count; ++i) {
      out += piece;
    }
    return out;
  };
  constexpr int kMany = 100'000;
  expect_refused({
      "{{ " + repeat("(", kMany) + "1" + repeat(")", kMany) + " }}",
      "{{ " + repeat("[", kMany) + repeat("]", kMany) + " }}",
      "{{ " + repeat("{1:", kMany) + "1" + repeat("}", kMany) + " }}",
      "{{ " + repeat("not ", kMany) + "1 }}",
      "{{ " + repeat("- ", kMany) + "1 }}",
      "{{ 1" + repeat(" + 1", kMany) + " }}",
      "{{ n" + repeat(".a", kMany) + " }}",
      "{{ n" + repeat("|string", kMany) + " }}",
      "{{ n" + repeat(" if n else n", kMany) + " }}",
      "{{ n" + repeat("[n", kMany) + repeat("]", kMany) + " }}",
      repeat("{% if n %}", kMany) + repeat("{% endif %}", kMany),
      repeat("{% for n in l %}", kMany) + repeat("{% endfor %}", kMany),
      "{% set " + repeat("(", kMany) + "a" + repeat(",)", kMany) + " = 1 %}",
  });
}

TEST(chat_template, ReleasesCyclesBetweenNamespacesMacrosAndLoops) {
  // Leaks show under AddressSanitizer.
  expect_all({
      {"{% set a = namespace() %}{% set b = namespace(a=a) %}{% set a.b = b %}{% set a.self = a %}",
       ""},
      {"{% macro m() %}{% endmacro %}{% set a = namespace(m=m) %}{% macro k() %}{{ a }}{% endmacro "
       "%}",
       ""},
      {"{% for x in [1] %}{% if loop.changed(loop.changed) %}{% endif %}{% endfor %}", ""},
  });
}

TEST(chat_template, ChecksItsInput) {
  const ChatTemplate source("{{ messages }}");
  EXPECT_THROW(source.render("text", nullptr, false, nullptr), Error);
  EXPECT_THROW(source.render(Json::array({"text"}), nullptr, false, nullptr), Error);
  EXPECT_THROW(source.render(Json::array(), Json::array({1}), false, nullptr), Error);
  EXPECT_THROW(source.render(Json::array(), nullptr, false, Json::array()), Error);
  EXPECT_THROW(source.render(Json::array({{{"content", "\xFF"}}}), nullptr, false, nullptr), Error);
  EXPECT_THROW(ChatTemplate("\xC3"), Error);
}

}  // namespace
}  // namespace nibble::text
