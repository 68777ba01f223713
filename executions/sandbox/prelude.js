// What a JavaScript program finds: console, its names; and how its value becomes JSON.
// Everything used after the program has begun is taken from the built-ins before.
(() => {
    "use strict";
    const { stringify, parse } = JSON;
    const { from: arrayFrom } = Array;
    const { defineProperty, fromEntries, keys } = Object;
    const { then } = Promise.prototype;
    const text = String;
    const isView = ArrayBuffer.isView;
    const safe = Number.isSafeInteger;
    const number = Number;
    const kinds = { Map, Set, Error, RegExp, Promise, DataView, ArrayBuffer };
    const OUTPUT = 102400;
    const written = { stdout: { parts: [], length: 0 }, stderr: { parts: [], length: 0 } };

    function plain(key, value) {
        const raw = this === undefined || this === null ? value : this[key];
        if (typeof raw === "bigint") return safe(number(raw)) ? number(raw) : text(raw);
        if (typeof raw !== "object" || raw === null) return value;
        if (raw instanceof kinds.Promise) {
            throw new TypeError("The result holds a promise; await it, or use Promise.all.");
        }
        if (raw instanceof kinds.Map) {
            return fromEntries(arrayFrom(raw, ([name, item]) => [text(name), item]));
        }
        if (raw instanceof kinds.Set) return arrayFrom(raw);
        if (raw instanceof kinds.Error) return { name: raw.name, message: raw.message };
        if (raw instanceof kinds.RegExp) return text(raw);
        if (raw instanceof kinds.ArrayBuffer) return arrayFrom(new Uint8Array(raw));
        if (isView(raw) && !(raw instanceof kinds.DataView)) return arrayFrom(raw);
        return value;
    }

    function shown(value, nested) {
        try {
            if (typeof value === "string") return nested ? stringify(value) : value;
            if (typeof value === "function") return `[Function: ${value.name || "anonymous"}]`;
            if (typeof value === "bigint") return `${value}n`;
            if (value instanceof kinds.Error) return value.stack || text(value);
            if (value instanceof kinds.Promise) return "Promise";
            if (typeof value !== "object" || value === null) return text(value);
            return stringify(value, plain) ?? text(value);
        } catch (error) {
            return `[${error}]`;
        }
    }

    function formatted(values) {
        let rest = values;
        let line = "";
        if (typeof values[0] === "string" && values.length > 1 && values[0].includes("%")) {
            let next = 1;
            line = values[0].replace(/%([sdifjoOc%])/g, (whole, kind) => {
                if (kind === "%") return "%";
                if (next >= values.length) return whole;
                const value = values[next++];
                if (kind === "c") return "";
                if (kind === "d") return text(number(value));
                if (kind === "i") return text(Math.trunc(number(value)));
                if (kind === "f") return text(number(value));
                return shown(value, kind !== "s");
            });
            rest = values.slice(next);
            if (rest.length) line += " ";
        }
        return line + rest.map((value) => shown(value, false)).join(" ");
    }

    function writer(stream) {
        return (...values) => {
            if (stream.length > OUTPUT) return;
            const line = formatted(values) + "\n";
            stream.length += line.length;
            stream.parts.push(line.slice(0, OUTPUT + 1));
        };
    }

    const out = writer(written.stdout);
    const err = writer(written.stderr);
    const silent = () => {};
    globalThis.console = {
        log: out, info: out, debug: out, dir: out, table: out, group: out, groupCollapsed: out,
        warn: err, error: err, trace: err,
        assert: (holds, ...values) => { if (!holds) err("Assertion failed:", ...values); },
        groupEnd: silent, time: silent, timeEnd: silent, timeLog: silent, count: silent,
        countReset: silent, clear: silent,
    };

    function install(json) {
        const { names, inputs, variables } = parse(json);
        const define = (name, value) => defineProperty(globalThis, name, {
            value, writable: true, configurable: true, enumerable: true,
        });
        // A name of the language stays what it is; the value is in `inputs` all the same.
        for (const name of keys(names)) if (!(name in globalThis)) define(name, names[name]);
        if (inputs) define("inputs", { ...names, ...inputs });
        if (variables) define("variables", { ...names, ...variables });
    }

    const join = (parts) => { let all = ""; for (const part of parts) all += part; return all; };

    function answer(fields) {
        return stringify({
            ...fields, stdout: join(written.stdout.parts), stderr: join(written.stderr.parts),
        });
    }

    function failure(error) {
        try {
            if (error instanceof kinds.Error) {
                return { name: text(error.name), message: text(error.message), stack: text(error.stack) };
            }
            return { name: "", message: shown(error, false), stack: "" };
        } catch {
            return { name: "", message: "The program threw something that is no error.", stack: "" };
        }
    }

    async function finish(promise) {
        let error;
        try {
            const value = await promise;
            if (typeof value === "function" || typeof value === "symbol") {
                throw new TypeError(`The result is a ${typeof value}; return data.`);
            }
            return answer({ value: stringify(value, plain) ?? "null" });
        } catch (caught) {
            error = failure(caught);
        }
        return answer({ error });
    }

    // The engine waits by `then`, which a program may have replaced for all promises.
    const settle = (promise) => defineProperty(finish(promise), "then", { value: then });

    return [install, settle];
})()
