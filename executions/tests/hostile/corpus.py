"""Known escapes from the sandboxes of other engines: the text, whose it was, and what it shows.

`origin` is a CVE where there is one, else the class of attack. Nothing here is aimed at this
engine in particular: the point is that none of it means anything to it.
"""

from __future__ import annotations

from typing import NamedTuple


class Payload(NamedTuple):
    """One attack."""

    product: str
    origin: str
    text: str


_N8N = (
    (
        "CVE-2025-68613",
        "{{ (function(){ return this.process.mainModule.require('child_process')"
        ".execSync('id').toString() })() }}",
    ),
    ("CVE-2025-68613", "{{ this.process.env }}"),
    ("CVE-2025-68613", "{{ this.constructor.constructor('return process')().env }}"),
    (
        "CVE-2026-1470",
        "{{ (() => { with (function(){}) { return constructor('return process')() } })() }}",
    ),
    (
        "CVE-2026-25049",
        "{{ (() => { const {constructor} = ()=>{};"
        " return constructor('return process')().mainModule.require('child_process') })() }}",
    ),
    ("CVE-2026-25049", "{{ `${(()=>{}).constructor`return process`()}` }}"),
    ("CVE-2026-25049", "{{ ({toString(){ return 'constructor' }}) }}"),
    ("CVE-2026-27577", "{{ process }}"),
    ("CVE-2026-27577", "{{ ((process) => process)() }}"),
    ("CVE-2025-68668", "{{ _pyodide._base.eval_code('import os; os.system(\"id\")') }}"),
    ("CVE-2026-0863", "{{ '{0.__class__.__init__.__globals__}'.format(exception) }}"),
    ("constructor chain", "{{ [].map.constructor('return process')().env }}"),
    ("constructor chain", "{{ $json.constructor.constructor('return this')() }}"),
    ("constructor chain", "{{ ''['constructor']['constructor']('return process')() }}"),
    ("constructor chain", "{{ ''['con' + 'structor']['con' + 'structor']('return 1')() }}"),
    ("constructor chain", "{{ Reflect.get(()=>{}, 'constructor')('return process')() }}"),
    ("getter access", "{{ Object.getOwnPropertyDescriptor(Function.prototype, 'constructor') }}"),
    ("getter access", "{{ Object.getPrototypeOf(async function(){}).constructor }}"),
    ("double evaluation", "{{ '{{ process.env }}' }}"),
    ("double evaluation", "{{ '{' + '{ env.HOSTILE_CANARY }' + '}' }}"),
    ("environment", "{{ $env.HOSTILE_CANARY }}"),
    ("environment", "{{ env.HOSTILE_CANARY }}"),
    ("environment", "{{ env['HOSTILE_' + 'CANARY'] }}"),
    ("environment", "{{ Object.keys(env).join(',') }}"),
    ("static data", "{{ $workflow.constructor }}"),
    ("static data", "{{ $('node').constructor.constructor('return process')() }}"),
)

_JINJA = (
    ("SSTI", "{{ ''.__class__.__mro__[1].__subclasses__() }}"),
    (
        "SSTI",
        "{{ ''.__class__.__base__.__subclasses__()[132].__init__.__globals__['popen']('id') }}",
    ),
    ("SSTI", "{{ lipsum.__globals__['os'].popen('id').read() }}"),
    ("SSTI", "{{ cycler.__init__.__globals__.os.popen('id').read() }}"),
    ("SSTI", "{{ joiner.__init__.__globals__.os.environ }}"),
    ("SSTI", "{{ namespace.__init__.__globals__.os.environ }}"),
    ("SSTI", "{{ self._TemplateReference__context.cycler.__init__.__globals__.os.environ }}"),
    ("SSTI", "{{ request.application.__globals__.__builtins__.__import__('os').environ }}"),
    ("SSTI", "{{ config.items() }}"),
    ("SSTI", "{{ url_for.__globals__['current_app'].config }}"),
    ("SSTI", "{{ get_flashed_messages.__globals__ }}"),
    ("SSTI", "{% for x in ().__class__.__base__.__subclasses__() %}{{ x }}{% endfor %}"),
    ("SSTI", "{% import os %}{{ os.environ }}"),
    ("SSTI", "{% include '/etc/passwd' %}"),
    ("CVE-2016-10745", "{{ '{0.__class__}'.format(42) }}"),
    ("CVE-2019-10906", "{{ '{x.__class__.__init__.__globals__}'.format_map({'x': 1}) }}"),
    ("CVE-2024-56326", "{{ ('{0.__class__}'.format)(42) }}"),
    ("CVE-2025-27516", "{{ ''|attr('format')('{0.__class__}') }}"),
    ("filter bypass", "{{ ()|attr('__class__')|attr('__base__')|attr('__subclasses__')() }}"),
    ("filter bypass", "{{ ''['\\x5f\\x5fclass\\x5f\\x5f'] }}"),
    ("filter bypass", "{{ ''['\\u005f\\u005fclass\\u005f\\u005f'] }}"),
    ("filter bypass", "{{ x[request.args.a] }}"),
)

_FORMAT = (
    ("CVE-2023-41039", "{0.__globals__}"),
    ("CVE-2023-26145", "{{ user.__init__.__globals__.HOSTILE_CANARY }}"),
    ("format string", "{user.__class__.__init__.__globals__[os].environ}"),
    ("format string", "%(user)s %x %n"),
    ("string.Template", "${__class__} $user.__class__"),
    ("f-string", "{__import__('os').environ}"),
)

_FLOWISE = (
    ("CVE-2025-59528", "{{ Function('return process.mainModule.require(\"fs\")')() }}"),
    ("CVE-2025-59528", "({x:(function(){return process.env})()})"),
    ("CVE-2025-59528", "new Function('return process')()"),
    ("vm2 CVE-2023-29017", "{{ Error.prepareStackTrace = (e, frames) => frames[0].getThis() }}"),
    ("vm2 CVE-2023-30547", "{{ new Proxy({}, {getPrototypeOf(){ throw process }}) }}"),
    ("vm2 CVE-2023-32314", "{{ Error.constructor('return process')() }}"),
    ("vm2 CVE-2023-37466", "{{ (async()=>{}).constructor('return process')() }}"),
    ("variable syntax", "{{ $flow.state.constructor.constructor('return process')() }}"),
    ("variable syntax", "{{ $vars.__proto__ }}"),
)

_LANGFLOW = (
    ("CVE-2025-3248", "@exec('import os; os.environ')\ndef f():\n    pass"),
    ("CVE-2025-3248", "def f(x=__import__('os').environ):\n    pass"),
    ("CVE-2025-3248", "exec('raise Exception(__import__(\"os\").environ)')"),
    ("code component", "{{ exec('import os') }}"),
    ("code component", "{{ __import__('os').environ }}"),
    ("code component", "{{ eval(compile('1', '', 'eval')) }}"),
    ("prompt template", "{prompt.__class__.__mro__}"),
)

_TEMPLATES = (
    ("Handlebars", "CVE-2019-19919", "{{#with 's' as |string|}}{{#with string.sub.constructor}}"
     "{{this.push 'return process'}}{{/with}}{{/with}}"),
    ("Handlebars", "CVE-2021-23369", "{{ (lookup (lookup this 'constructor') 'constructor') }}"),
    ("Handlebars", "CVE-2021-23383", "{{ __proto__.constructor }}"),
    ("Handlebars", "SSTI", "{{> (lookup . 'partial') }}"),
    ("Mustache", "SSTI", "{{{ user.constructor }}}"),
    ("Mustache", "delimiters", "{{=<% %>=}}<% user.constructor %>"),
    ("EJS", "CVE-2022-29078", "<%= process.env %>"),
    ("EJS", "CVE-2022-29078", "{{ settings['view options'].outputFunctionName }}"),
    ("lodash", "CVE-2021-23337", "<%= ${process.env} %>"),
    ("Pug", "SSTI", "#{root.process.mainModule.require('child_process').execSync('id')}"),
    ("Nunjucks", "SSTI", "{{ range.constructor('return global.process.env')() }}"),
    ("AngularJS", "SSTI", "{{ constructor.constructor('return process')() }}"),
    ("AngularJS", "SSTI", "{{ toString.constructor.fromCharCode(97) }}"),
    ("Vue", "SSTI", "{{ _c.constructor('return process')() }}"),
    ("Twig", "SSTI", "{{ _self.env.registerUndefinedFilterCallback('exec') }}"),
    ("Twig", "SSTI", "{{ ['id']|filter('system') }}"),
    ("Twig", "CVE-2022-23614", "{{ ['id', 0]|sort('system')|join }}"),
    ("Smarty", "SSTI", "{system('id')}"),
    ("Freemarker", "SSTI", "<#assign e='freemarker.template.utility.Execute'?new()>${e('id')}"),
    ("Velocity", "SSTI", "#set($r=$x.class.forName('java.lang.Runtime'))$r.exec('id')"),
    ("Thymeleaf", "SSTI", "__${T(java.lang.Runtime).getRuntime().exec('id')}__::.x"),
    ("SpEL", "CVE-2022-22963", "T(java.lang.Runtime).getRuntime().exec('id')"),
    ("SpEL", "CVE-2022-22947", "#{new String(T(org.springframework.util.StreamUtils)"
     ".copyToByteArray(T(java.lang.Runtime).getRuntime().exec('id').getInputStream()))}"),
    ("OGNL", "CVE-2017-5638", "%{(#_='multipart/form-data').(#cmd='id').(#p=new java.lang"
     ".ProcessBuilder(#cmd)).(#p.start())}"),
    ("OGNL", "CVE-2021-26084", "\\u0027+{Class.forName(\\u0027java.lang.Runtime\\u0027)}+\\u0027"),
    ("Log4j", "CVE-2021-44228", "${jndi:ldap://127.0.0.1/a}"),
    ("Log4j", "CVE-2021-44228", "${${lower:j}ndi:${env:HOSTILE_CANARY}}"),
    ("Commons Text", "CVE-2022-42889", "${script:javascript:java.lang.Runtime.getRuntime()}"),
    ("ERB", "SSTI", "<%= `id` %>"),
    ("Go", "SSTI", "{{ printf \"%s\" .System }}"),
    ("Mako", "SSTI", "${self.module.cache.util.os.environ}"),
    ("Tornado", "SSTI", "{% raw __import__('os').environ %}"),
)  # fmt: skip

_EXPRESSIONS = (
    ("expr-eval", "CVE-2025-12735", "{{ x.constructor('return process')() }}"),
    ("mathjs", "escape", "{{ cos.constructor('return process')() }}"),
    ("JSONPath Plus", "CVE-2024-21534", "$[?(@.constructor.constructor('return process')())]"),
    ("JSONPath Plus", "CVE-2025-1302", "$..[?(p='this.process.env')]"),
    ("JSONata", "CVE-2024-27307", "$ ~> |$|{'__proto__': {'polluted': true}}|"),
    ("JSONata", "CVE-2024-27307", "($c := $.constructor; $c)"),
    ("JSONata", "nested evaluation", "$eval('$eval(\"$env\")')"),
    ("JSONata", "nested evaluation", "($f := function($x){$f($x)}; $f(1))"),
    ("JSONata", "host attributes", "$string.__globals__"),
    ("JSONata", "host attributes", "$.__class__.__mro__"),
    ("prototype pollution", "CWE-1321", "{{ __proto__.polluted }}"),
    ("prototype pollution", "CWE-1321", "{{ user['__proto__']['polluted'] }}"),
    ("prototype pollution", "CWE-1321", "{{ user.constructor.prototype.polluted }}"),
    ("arrow function", "escape", "x => x.constructor.constructor('return process.env')()"),
    ("arrow function", "escape", "x => this.constructor.constructor('return process')()"),
    ("arrow function", "escape", "x => import('fs')"),
    ("arrow function", "injection", "1); globalThis.polluted = (x => 1"),
    ("arrow function", "injection", "x => x\n]; globalThis.polluted = 1; [x => x"),
    ("SQL", "injection", "'; DROP TABLE executions_run; --"),
    ("shell", "injection", "$(id) `id` ; id"),
    ("header", "CWE-113", "{{ 'a\\r\\nX-Injected: 1' }}"),
    ("unicode", "confusables", "{{ ｕser.ｃonstructor }}"),
    ("unicode", "confusables", "{{ user․constructor }}"),
    ("unicode", "direction", "{{ \u202euser.name\u202c }}"),
    ("unicode", "half characters", "{{ '\\ud800' }}"),
    ("unicode", "invisible", "{\u200b{ user.name }\u200b}"),
)

PAYLOADS: tuple[Payload, ...] = tuple(
    Payload(product, origin, text)
    for product, entries in (
        ("n8n", _N8N),
        ("Jinja", _JINJA),
        ("Python", _FORMAT),
        ("Flowise", _FLOWISE),
        ("Langflow", _LANGFLOW),
    )
    for origin, text in entries
) + tuple(Payload(*entry) for entry in (*_TEMPLATES, *_EXPRESSIONS))
