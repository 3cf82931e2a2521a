#pragma once

// Templates and what the reference (jinja2 3.1 for Python, with trim_blocks, lstrip_blocks and
// json.dumps as tojson) makes of them with kCaseVariables.

#include <string_view>

namespace tessera::gateway {

struct TemplateCase {
  std::string_view source;
  std::string_view text;
};

inline constexpr std::string_view kCaseVariables =
    "{\"s\": \"Hello, Wörld!\", \"n\": 7, \"neg\": -7, \"f\": 2.5, \"t\": true, \"no\": null, "
    "\"l\": "
    "[3, 1, 2], \"ls\": [\"b\", \"A\", \"c\"], \"d\": {\"b\": 1, \"a\": {\"x\": [1, 2.0, 1e+20, "
    "1e-07"
    ", null, true]}, \"items\": \"mine\"}, \"e\": \"\", \"el\": [], \"ms\": [{\"role\": \"user\", "
    "\"co"
    "ntent\": \"hi\"}, {\"role\": \"assistant\", \"content\": \"yo\", \"k\": 1}], \"uni\": "
    "\"日本\\n\\\"q\\"
    "\"\\t\\\\\"}";

inline constexpr TemplateCase kTemplateCases[] = {
    {"{{ s }}|{{ n }}|{{ f }}|{{ t }}|{{ no }}|{{ l }}|{{ d }}|{{ undefinedthing }}|",
     "Hello, Wörld!|7|2.5|True|None|[3, 1, 2]|{'b': 1, 'a': {'x': [1, 2.0, 1e+20, 1e-0"
     "7, None, True]}, 'items': 'mine'}||"},
    {"{{ s[0] }}{{ s[-1] }}{{ s[1:3] }}{{ s[::-1] }}{{ l[::-1] }}{{ l[1:] }}{{ l[:-1] "
     "}}{{ l[5:] }}{{ l[-100:2] }}{{ l[2:0:-1] }}",
     "H!el!dlröW ,olleH[2, 1, 3][1, 2][3, 1][][3, 1][2, 1]"},
    {"{{ n+1 }} {{ n-1 }} {{ n*2 }} {{ n/2 }} {{ n//2 }} {{ neg//2 }} {{ neg%3 }} {{ n"
     "%3 }} {{ 2**10 }} {{ 2**-1 }} {{ n*1.0 }} {{ -n }} {{ 7.0//2 }} {{ -7.5%2 }}",
     "8 6 14 3.5 3 -4 2 1 1024 0.5 7.0 -7 3.0 0.5"},
    {"{{ 'a' + 'b' }} {{ 'a' ~ 1 ~ none ~ true }} {{ 'ab' * 3 }} {{ [1]+[2] }}",
     "ab a1NoneTrue ababab [1, 2]"},
    {"{{ 1 < 2 < 3 }} {{ 1 < 2 > 5 }} {{ 'a' in 'abc' }} {{ 3 in l }} {{ 'b' in d }} {"
     "{ 'z' not in d }} {{ not true }} {{ true and 0 }} {{ '' or 'x' }} {{ 1 == 1.0 }}"
     " {{ '1' == 1 }}",
     "True False True True True True False 0 x True False"},
    {"{{ 'yes' if n > 5 else 'no' }} {{ 'yes' if false }}", "yes "},
    {"{% for x in l %}{{ loop.index }}/{{ loop.length }}:{{ x }}{% if not loop.last %}"
     ", {% endif %}{% endfor %}",
     "1/3:3, 2/3:1, 3/3:2"},
    {"{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}",
     "b=1;a={'x': [1, 2.0, 1e+20, 1e-07, None, True]};items=mine;"},
    {"{% for x in l if x > 1 %}{{ x }}{{ loop.first }}{% else %}none{% endfor %}", "3True2False"},
    {"{% for x in [] %}a{% else %}empty{% endfor %}", "empty"},
    {"{% for x in l %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% if x == 2 %}{%"
     " break %}{% endif %}{% endfor %}",
     "32"},
    {"{% set ns = namespace(c=0) %}{% for x in l %}{% set ns.c = ns.c + x %}{% endfor "
     "%}{{ ns.c }}",
     "6"},
    {"{% set x = 1 %}{% for i in [1] %}{% set x = 2 %}{% endfor %}{{ x }}{% if true %}"
     "{% set x = 3 %}{% endif %}{{ x }}",
     "13"},
    {"{% macro m(a, b='d') %}[{{ a }}{{ b }}]{% endmacro %}{{ m(1) }}{{ m(1, 2) }}{{ m"
     "(b=3, a=4) }}{{ m() }}",
     "[1d][12][43][d]"},
    {"{% set block %}in {{ n }}{% endset %}{{ block|upper }}", "IN 7"},
    {"{% raw %}{{ not }} {% if %}{% endraw %}", "{{ not }} {% if %}"},
    {"{{ d|tojson }} {{ uni|tojson }} {{ l|tojson(indent=2) }} {{ d|tojson(indent=4) }"
     "} {{ []|tojson(indent=2) }} {{ uni|tojson(ensure_ascii=true) }} {{ d|tojson(sort"
     "_keys=true) }} {{ [1,2]|tojson(separators=(',',':')) }}",
     "{\"b\": 1, \"a\": {\"x\": [1, 2.0, 1e+20, 1e-07, null, true]}, \"items\": \"mine\"} "
     "\"日本\\n\\"
     "\"q\\\"\\t\\\\\" [\n  3,\n  1,\n  2\n] {\n    \"b\": 1,\n    \"a\": {\n        \"x\": [\n    "
     "        "
     "1,\n            2.0,\n            1e+20,\n            1e-07,\n            null,\n    "
     "        true\n        ]\n    },\n    \"items\": \"mine\"\n} [] "
     "\"\\u65e5\\u672c\\n\\\"q\\\"\\t\\\\\""
     " {\"a\": {\"x\": [1, 2.0, 1e+20, 1e-07, null, true]}, \"b\": 1, \"items\": \"mine\"} [1,2]"},
    {"{{ l|sort }} {{ l|sort(reverse=true) }} {{ ls|sort }} {{ l|first }} {{ l|last }}"
     " {{ l|sum }} {{ l|min }} {{ l|max }} {{ [1,1,2]|unique|list }} {{ l|reverse|list"
     " }} {{ 'abc'|reverse }}",
     "[1, 2, 3] [3, 2, 1] ['A', 'b', 'c'] 3 2 6 1 3 [1, 2] [2, 1, 3] cba"},
    {"{{ ls|join(', ') }} {{ ms|map(attribute='role')|join('-') }} {{ ls|map('lower')|"
     "list }} {{ ms|selectattr('role','equalto','user')|list }} {{ ms|rejectattr('k','"
     "defined')|list }} {{ l|select('odd')|list }} {{ l|reject('gt', 1)|list }} {{ ms|"
     "selectattr('k')|list|length }}",
     "b, A, c user-assistant ['b', 'a', 'c'] [{'role': 'user', 'content': 'hi'}] [{'ro"
     "le': 'user', 'content': 'hi'}] [3, 1] [1] 1"},
    {"{{ '  x '|trim }}|{{ '--x--'.strip('-') }}|{{ 'xxab'.lstrip('x') }}|{{ 'abxx'.rs"
     "trip('x') }}|{{ ' a b '.split() }}|{{ 'a,b,c'.split(',', 1) }}|{{ 'a,b,c'.rsplit"
     "(',', 1) }}|{{ 'abc'.startswith('ab') }}|{{ 'abc'.endswith(('x','c')) }}",
     "x|x|ab|ab|['a', 'b']|['a', 'b,c']|['a,b', 'c']|True|True"},
    {"{{ 'a-b'.replace('-', '+') }} {{ 'aaa'|replace('a','b',2) }} {{ 'abc'.find('c') "
     "}} {{ 'abc'.upper() }} {{ 'x'.join(['a','b']) }} {{ 'a\\nb'.splitlines() }} {{ '1"
     "2'.isdigit() }} {{ 'banana'.count('a') }}",
     "a+b bba 2 ABC axb ['a', 'b'] True 3"},
    {"{{ no is none }} {{ s is string }} {{ n is number }} {{ t is number }} {{ t is b"
     "oolean }} {{ n is integer }} {{ f is float }} {{ d is mapping }} {{ l is sequenc"
     "e }} {{ s is iterable }} {{ n is iterable }} {{ nope is defined }} {{ nope is no"
     "t defined }} {{ nope is undefined }} {{ n is odd }} {{ n is divisibleby 7 }} {{ "
     "n is in [7] }} {{ n is eq 7 }} {{ t is true }} {{ t is false }} {{ range is call"
     "able }}",
     "True True True True True True True True True True False False True True True Tru"
     "e True True True False True"},
    {"{{ nope|default('d') }} {{ ''|default('d') }} {{ ''|default('d', true) }} {{ no|"
     "default('d') }} {{ no|d('x', boolean=true) }}",
     "d  d None x"},
    {"{{ '42'|int }} {{ 'x'|int }} {{ 'x'|int(5) }} {{ '2.5'|float }} {{ 3.7|int }} {{"
     " 2.5|round }} {{ 2.567|round(2) }} {{ 2.1|round(0,'ceil') }} {{ -3|abs }} {{ 5|s"
     "tring + 'x' }}",
     "42 0 5 2.5 3 2.0 2.57 3.0 3 5x"},
    {"{{ '<a&\"b\\'>'|e }} {{ \"a\" \"b\" }} {{ 'tab\\tx\\\\' }} {{ \"\\u00e9\" }}",
     "&lt;a&amp;&#34;b&#39;&gt; ab tab\tx\\ é"},
    {"{{ loop is defined }} {{ ms[0]['content'] }} {{ ms[-1].role }} {{ ms[5] is defin"
     "ed }} {{ d['items'] }} {{ d.a.x[1] }}",
     "False hi assistant False mine 2.0"},
    {"{%- if true -%}   trimmed   {%- endif -%}   x\n  {% if true %}\n  body\n  {% endif "
     "%}\n{# comment #}\na {#- c -#} b\n  {%+ if true %}plus{% endif +%}\nx",
     "trimmedx\n  body\nab\n  plus\nx"},
    {"{% for a in [[1,2],[3,4]] %}{{ loop.previtem }}{{ a }}{{ loop.nextitem }}{{ loop"
     ".cycle('o','e') }}{{ loop.revindex }}{% endfor %}",
     "[1, 2][3, 4]o2[1, 2][3, 4]e1"},
    {"{{ no.x is defined }} {{ no['x'] is defined }} {{ n.x is defined }}", "False False False"},
    {"a\n", "a"},
    {"a\n\n", "a\n"},
    {"  {% if true %}x{% endif %}\n  y", "x  y"},
    {"{{ 'x' }}\n{% if true %}\n{% endif %}\nend", "x\nend"},
    {"{{ s|length }} {{ 'abc'|upper }} {{ 'ABC'|lower }} {{ 'hello world'|title }} {{ "
     "'hELLO'|capitalize }}",
     "13 ABC abc Hello World Hello"},
    {"{% filter upper %}abc{{ n }}{% endfilter %}", "ABC7"},
    {"{{ 'a\\nb\\n\\nc'|indent }} {{ 'a\\nb'|indent(2, true) }} {{ d|items|list|length }} "
     "{{ d.keys()|list }} {{ d.get('b') }} {{ d.get('zz') }} {{ d.get('zz', 4) }}",
     "a\n    b\n\n    c   a\n  b 3 ['b', 'a', 'items'] 1 None 4"},
    {"{% for k, v in d|dictsort %}{{ k }},{% endfor %}", "a,b,items,"},
    {"{{ range(3)|list }} {{ range(5, 0, -2)|list }} {{ dict(a=1) }} {{ {'a': [1, [2, "
     "3]], \"b\": none} }} {{ [1, 2.0, 'x', \"it's\", 'say \"x\"'] }} {{ 1e16 }} {{ 1e15 }} "
     "{{ 0.1 }} {{ 1.5e-7 }} {{ 100.0 }}",
     "[0, 1, 2] [5, 3, 1] {'a': 1} {'a': [1, [2, 3]], 'b': None} [1, 2.0, 'x', \"it's\","
     " 'say \"x\"'] 1e+16 1000000000000000.0 0.1 1.5e-07 100.0"},
    {"{{ [1,2] == [1,2] }} {{ 'b' > 'a' }} {{ [1,2] < [1,3] }}", "True True True"},
};

}  // namespace tessera::gateway
