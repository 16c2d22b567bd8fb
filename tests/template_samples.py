# ruff: noqa: E501
"""Chat templates for the tests: honest ones in the styles of well-known models, and attacks as published.

None of them is ever rendered.
"""

from __future__ import annotations

CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA_3 = """{{- bos_token }}
{%- if custom_tools is defined %}{%- set tools = custom_tools %}{%- endif %}
{%- if not tools_in_user_message is defined %}{%- set tools_in_user_message = true %}{%- endif %}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}{%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}{%- set date_string = "26 Jul 2024" %}{%- endif %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}{%- set messages = messages[1:] %}
{%- else %}{%- set system_message = "" %}{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}{{- "Environment: ipython\\n" }}{%- endif %}
{{- "Cutting Knowledge Date: December 2023\\nToday Date: " + date_string + "\\n\\n" }}
{{- system_message }}{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}{{- raise_exception("One tool call at once!") }}{%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '{"name": "' + tool_call.name + '", "parameters": ' }}{{- tool_call.arguments | tojson }}{{- "}" }}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {%- if message.content is mapping or message.content is iterable %}{{- message.content | tojson }}
        {%- else %}{{- message.content }}{%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}
"""
LLAMA_2 = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = "
    "messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}"
    "{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}{% if loop.index0 == 0 and system_message != "
    "false %}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}"
    "{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
    "{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}"
    "{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + "
    "'<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}"
)
MISTRAL = """{%- set loop_messages = messages %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}
{%- set ns = namespace() %}{%- set ns.index = 0 %}
{%- for message in loop_messages %}
    {%- if not (message.role == "tool" or (message.tool_calls is defined and message.tool_calls is not none)) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}{{- raise_exception("roles must alternate") }}{%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == user_messages[-1]) %}{{- "[AVAILABLE_TOOLS][" }}
            {%- for tool in tools %}{{- tool.function | tojson }}{%- if not loop.last %}{{- ", " }}{%- endif %}{%- endfor %}
        {{- "][/AVAILABLE_TOOLS]" }}{%- endif %}
        {{- "[INST]" + message["content"] + "[/INST]" }}
    {%- elif message["role"] == "assistant" %}{{- message["content"] + eos_token }}{%- endif %}
{%- endfor %}
"""
DEEPSEEK = (
    "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}"
    "{% set ns = namespace(is_first=false, is_tool=false, is_output_first=true, system_prompt='') %}"
    "{%- for message in messages %}{%- if message['role'] == 'system' %}{% set ns.system_prompt = message['content'] %}"
    "{%- endif %}{%- endfor %}{{bos_token}}{{ns.system_prompt}}{%- for message in messages %}"
    "{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%}{{'<｜User｜>' + message['content']}}{%- endif %}"
    "{%- if message['role'] == 'assistant' and message['content'] is not none %}{% set content = message['content'] %}"
    "{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}"
    "{{'<｜Assistant｜>' + content + '<｜end▁of▁sentence｜>'}}{%- endif %}{%- endfor -%}"
    "{% if add_generation_prompt and not ns.is_tool %}{{'<｜Assistant｜><think>\\n'}}{% endif %}"
)
QWEN_3 = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}{%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n\\n' }}{%- endif %}
    {{- "# Tools\\n\\nYou are provided with function signatures within <tools></tools> XML tags:\\n<tools>" }}
    {%- for tool in tools %}{{- "\\n" }}{{- tool | tojson }}{%- endfor %}{{- "\\n</tools><|im_end|>\\n" }}
{%- endif %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}{%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}{%- set content = message.content %}{%- else %}{%- set content = '' %}{%- endif %}
    {%- if message.role == "assistant" %}
        {%- set reasoning_content = '' %}
        {%- if '</think>' in content %}
            {%- set reasoning_content = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + content }}
        {{- '<|im_end|>\\n' }}
    {%- else %}{{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}
{%- endif %}"""
GPT_OSS = """{%- macro render_typescript_type(param_spec, required_params, is_nullable=false) -%}
    {%- if param_spec.type == "array" -%}
        {%- if param_spec['items'] -%}
            {%- set inner_type = render_typescript_type(param_spec['items'], required_params) -%}
            {%- if inner_type == "object | object" or inner_type|length > 50 -%}{{- "any[]" }}
            {%- else -%}{{- inner_type + "[]" }}{%- endif -%}
        {%- else -%}{{- "any[]" }}{%- endif -%}
    {%- elif param_spec.type is defined and param_spec.type is iterable and param_spec.type is not string -%}
        {{- param_spec.type | join(" | ") }}
    {%- elif param_spec.enum -%}{{- '"' + param_spec.enum|join('" | "') + '"' -}}
    {%- elif param_spec.oneOf -%}
        {%- for variant in param_spec.oneOf -%}{{- render_typescript_type(variant, required_params) -}}{%- endfor -%}
    {%- else -%}{{- "any" }}{%- endif -%}
{%- endmacro -%}
{{- "<|start|>system<|message|>" }}{{- "Current date: " + strftime_now("%Y-%m-%d") + "\\n\\n" }}{{- "<|end|>" }}
{%- set last_tool_call = namespace(name=none) %}
{%- for message in messages -%}
    {%- if message.role == 'assistant' -%}
        {%- if "tool_calls" in message %}
            {%- set last_tool_call.name = message.tool_calls[0].function.name %}
            {{- "<|start|>assistant to=functions." + last_tool_call.name + "<|channel|>commentary json<|message|>" }}
            {{- message.tool_calls[0].function.arguments|tojson }}{{- "<|call|>" }}
        {%- elif loop.last and not add_generation_prompt %}{{- "<|start|>assistant<|channel|>final<|message|>" + message.content + "<|return|>" }}
        {%- else %}{{- "<|start|>assistant<|channel|>final<|message|>" + message.content + "<|end|>" }}{%- endif %}
    {%- elif message.role == 'user' -%}{{- "<|start|>user<|message|>" + message.content + "<|end|>" }}{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}<|start|>assistant{%- endif -%}"""
PHI_3 = (
    "{% for message in messages %}{% if message['role'] == 'system' %}{{'<|system|>\n' + message['content'] + '<|end|>\n'}}"
    "{% elif message['role'] == 'user' %}{{'<|user|>\n' + message['content'] + '<|end|>\n'}}{% elif message['role'] == "
    "'assistant' %}{{'<|assistant|>\n' + message['content'] + '<|end|>\n'}}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)
ZEPHYR = (
    "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + eos_token }}"
    "\n{% elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}"
    "\n{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}"
)
COMMAND_R = (
    "{{ bos_token }}{% for message in messages %}{% set content = message['content'] %}{% if message['role'] == 'user' %}"
    "{{ '<|START_OF_TURN_TOKEN|><|USER_TOKEN|>' + content.strip() + '<|END_OF_TURN_TOKEN|>' }}{% else %}"
    "{{ '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>'  + content.strip() + '<|END_OF_TURN_TOKEN|>' }}{% endif %}{% endfor %}"
)
GENERATION_TAG = (
    "{% for m in messages %}{% if m.role == 'assistant' %}<|im_start|>assistant\n{% generation %}{{ m.content }}<|im_end|>"
    "{% endgeneration %}{% elif m.role == 'skip' %}{% continue %}{% else %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "<|im_end|>{% endif %}{% if loop.index > 400 %}{% break %}{% endif %}{% endfor %}"
)
WORDS_ABOUT_CODE = (
    "{{ '<|im_start|>system\nYou write Python. Never call os.system, subprocess.run or eval(). Say what __init__ and "
    "__class__ do.<|im_end|>' }}Use `__globals__` and lipsum with care, and import os first."
    "{% for m in messages %}{{ m.content.replace('import os', '') }}<|im_end|>{% endfor %}"
)
VISION = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{% if message.content is string %}{{ message.content }}"
    "{% else %}{% for part in message.content %}{% if part.type == 'image' or 'image_url' in part %}<|vision_start|>"
    "<|image_pad|><|vision_end|>{% elif 'text' in part %}{{ part.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}"
)
OTHER_SCRIPTS = (
    "{{ 'نمی‌دانم، می‌خواهم' }}{{ 'שלום עולם' }}{{ '👨‍👩‍👧 🏳️‍🌈 ❤️' }}{{ 'क्‍ष 한국어 日本語 ไทย' }}"
    "{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}"
)
TOOLS_AS_CODE = (
    "{%- macro json_to_python_type(spec) %}{%- set types = {'string': 'str', 'number': 'float', 'boolean': 'bool'} %}"
    "{%- if types[spec.type] is defined %}{{- types[spec.type] }}{%- elif spec.type == 'array' %}{{- 'list[' + "
    "json_to_python_type(spec['items']) + ']' }}{%- elif spec.type is iterable and spec.type is not string %}Union["
    "{%- for t in spec.type %}{{- json_to_python_type({'type': t}) }}{% if not loop.last %},{% endif %}{%- endfor %}]"
    "{%- endif %}{%- endmacro %}{% for tool in tools %}{{ json_to_python_type(tool.parameters) }}{% for k, v in "
    "tool.items() %}{{ k }}{% endfor %}{% endfor %}{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}"
)

HONEST = {
    name.lower(): value
    for name, value in globals().items()
    if name.isupper() and isinstance(value, str) and "{" in value
}

HOSTILE = r"""
{{ cycler.__init__.__globals__.os.popen('id').read() }}
{% for x in ().__class__.__base__.__subclasses__() %}{% if "warning" in x.__name__ %}{{ x()._module.__builtins__['__import__']('os').popen("id") }}{% endif %}{% endfor %}
{{ joiner.__init__.__globals__.os.popen('id').read() }}
{{ namespace.__init__.__globals__.os.popen('id').read() }}
{{ self.__init__.__globals__.__builtins__.__import__('os').popen('id').read() }}
{{ self._TemplateReference__context.cycler.__init__.__globals__.os.popen('id').read() }}
{{ lipsum.__globals__["os"].popen('id').read() }}
{{ lipsum['__glo'+'bals__']['os']['popen']('id')['read']() }}
{{ ''|attr('__class__') }}
{{ ''|attr('\x5f\x5fclass\x5f\x5f')|attr('\x5f\x5fmro\x5f\x5f') }}
{{ ''|attr(['_'*2,'class','_'*2]|join) }}
{{ ''["\x5f\x5fclass\x5f\x5f"] }}
{{ ''['\u005f\u005fclass\u005f\u005f'] }}
{{ ''['__cl' ~ 'ass__'] }}
{{ ''[('__cl','ass__')|join] }}
{{ ''['__ssalc__'[::-1]] }}
{{ ''['__ssalc__'|reverse] }}
{{ ''['__CLASS__'|lower] }}
{{ ''['__CLASS__'.lower()] }}
{{ ''['%c%cclass%c%c'|format(95,95,95,95)] }}
{{ ''['%c%cclass%c%c' % (95,95,95,95)] }}
{{ ''['{}{}class{}{}'.format('_','_','_','_')] }}
{{ ''['xxclassxx'.replace('x','_')] }}
{{ ''['xxclassxx'|replace('x','_')] }}
{{ ''[''.join(['__cl','ass__'])] }}
{% set a='__cl' %}{% set b='ass__' %}{{ ''[a ~ b] }}
{% set a='__class__' %}{{ ''[a] }}
{% set ns = namespace(a='__cl', b='ass__') %}{{ ''[ns.a ~ ns.b] }}
{% for c in ['__class__', '__base__'] %}{{ ''[c] }}{% endfor %}
{% macro f(x='__globals__') %}{{ lipsum[x] }}{% endmacro %}{{ f() }}
{{ ''['__' ~ messages[0].content ~ '__'] }}
{{ messages|map(attribute='__class__')|list }}
{{ messages|map('attr','__class__')|list }}
{{ messages|selectattr('__class__.__base__')|list }}
{{ messages|groupby('__class__') }}
{{ messages|sort(attribute='__init__.__globals__') }}
{{ '{0.__class__.__init__.__globals__}'.format(messages) }}
{{ '{0.__class__}'|format(messages) }}
{{ ('{0.__cla' ~ 'ss__}').format(messages) }}
{{ raise_exception.__globals__ }}
{{ messages.append.__self__ }}
{{ (messages|select).gi_frame.f_back.f_globals }}
{{ __import__('os').system('id') }}
{{ os.system('id') }}
{{ subprocess.check_output(['id']) }}
{{ eval('1+1') }}
{{ open('/etc/passwd').read() }}
{{ getattr(messages, 'x') }}
{{ (lipsum|string|list)[18] }}
{{ url_for.__globals__ }}
{{ dict(__class__=1)|list|first }}
{{ ''[dict(__cl=1,ass__=2)|join] }}
{{ config.items() }}{{ ''.__class__.mro()[1] }}
{% include '/etc/passwd' %}
{% extends '../../secret.html' %}
{{ messages|attr(messages[0].content) }}
{{ ''|attr('format') }}
{{ ''|attr("＿＿class＿＿") }}
{{ range|string }}
{{ tojson.__globals__ }}
{% with a = ''.__class__ %}{{ a }}{% endwith %}
{% if ''.__class__ %}{% endif %}
{{ {}.__class__.__base__.__subclasses__()[132].__init__.__globals__['popen']('id') }}
{{ request|attr('application')|attr('\x5f\x5fglobals\x5f\x5f')|attr('\x5f\x5fgetitem\x5f\x5f')('\x5f\x5fbuiltins\x5f\x5f') }}
{{ [].__doc__[17] }}
{% set x = cycler %}{{ x }}
{{ loop.__class__ }}{{ messages[0].__reduce_ex__(2) }}
{% call(x) messages.__class__() %}{% endcall %}
{% filter attr('__class__') %}x{% endfilter %}
{% block a %}{{ self.a.__func__ }}{% endblock %}
""".strip().splitlines()

BOMBS = [
    "{{ 'a' * 1000000000 }}",
    "{{ 1000000000 * 'a' }}",
    "{{ 'a' * 10**9 }}",
    "{% for i in range(10**12) %}x{% endfor %}",
    "{% set n = 1000000000 %}{% for i in range(n) %}x{% endfor %}",
    "{{ range(0, 999999999)|join }}",
    "{% for a in range(10000) %}{% for b in range(10000) %}x{% endfor %}{% endfor %}",
    "{{ 9**9**9 }}",
    "{{ 10**1000000000 }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '%1000000000d'|format(1) }}",
    "{{ '{:>1000000000}'.format(1) }}",
    "{{ 'a'|center(1000000000) }}",
    "{{ 'a'.ljust(1000000000) }}",
    "{% set ns = namespace(s='ha') %}{% for i in range(100) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
    "{% set a0 = 'x' %}" + "".join(f"{{% set a{i + 1} = a{i} ~ a{i} %}}" for i in range(30)),
    "".join(f"{{% for a{i} in [1,2,3,4,5,6,7,8,9,0] %}}" for i in range(9)) + "x" + "{% endfor %}" * 9,
    "{% if a %}" * 100 + "{% endif %}" * 100,
    "{% if a %}" * 5000 + "{% endif %}" * 5000,
    "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "{{ " + "[" * 100 + "]" * 100 + " }}",
    "{{ " + "[" * 40000,
    "{{ " + "not " * 20000 + "1 }}",
    "{{ " + "-" * 90000 + "1 }}",
    "x" * (2 << 20),
    "{{" * 500_000,
    "{{ __class__" * 100_000,
    "{{ a }}" * 20000,
]
