// SPDX-License-Identifier: Apache-2.0
// Reads manifests (YAML) from standard input and prints what the API's schemas say against them, one line a finding.
//
// kubernetes-models has the API's OpenAPI schemas as compiled validators (types, required fields, enumerations) and as type declarations;
// the latter name every field that there is, so that one which does not exist is found, too. An API server drops such a field in silence.
'use strict';
const fs = require('node:fs');
const path = require('node:path');
const yaml = require('js-yaml');

const load = (name) => { try { return require(name); } catch { return null; } };
const declarations = new Map();

// {fields: {name: type}, from: {imported name: file}} of the first interface in a declaration file.
function declared(file) {
    if (!declarations.has(file)) {
        const text = fs.readFileSync(file, 'utf8').replace(/\/\*[\s\S]*?\*\//g, '');
        const from = {}, fields = {};
        for (const [, names, where] of text.matchAll(/import \{([^}]*)\} from "([^"]*)"/g))
            for (const name of names.split(',')) from[name.trim()] = where;
        const body = /export interface \w+[^{]*\{\n([\s\S]*?)\n\}/.exec(text);
        for (const [, name, type] of (body ? body[1] : '').matchAll(/^ {4}"?([\w$-]+)"?\??: ([\s\S]*?);$/gm)) fields[name] = type;
        declarations.set(file, { fields, from, whole: body !== null });
    }
    return declarations.get(file);
}

function resolve(file, where) {
    return where.startsWith('.') ? path.resolve(path.dirname(file), `${where}.d.ts`)
        : require.resolve(where, { paths: [path.dirname(file)] }).replace(/\.js$/, '.d.ts');
}

function unknown(value, type, file, at, found) {
    const list = /^Array<([\s\S]*)>$/.exec(type);
    if (list && Array.isArray(value)) return value.forEach((v, i) => unknown(v, list[1], file, `${at}[${i}]`, found));
    const { from } = declared(file);
    if (!(type in from) || value === null || typeof value !== 'object' || Array.isArray(value)) return undefined;
    return unknownFields(value, resolve(file, from[type]), at, found);
}

function unknownFields(value, file, at, found) {
    const { fields, whole } = declared(file);
    if (!whole) return; // a quantity, a time: the validator knows
    for (const [name, v] of Object.entries(value))
        if (name in fields) unknown(v, fields[name], file, `${at}.${name}`, found);
        else found.push(`${at}.${name}: there is no such field`);
}

function check(object, found) {
    const at = `${object.kind} ${object.metadata && object.metadata.name}`;
    const group = object.apiVersion && object.apiVersion.includes('/') ? object.apiVersion : `v1/../${object.apiVersion}`;
    const name = `kubernetes-models/${path.posix.normalize(`${group}/${object.kind}`)}`;
    const model = load(name) && load(name)[object.kind];
    if (!model) return void found.push(`${at}: no schema for ${object.apiVersion}`);
    try { new model(object).validate(); } catch (e) { found.push(`${at}: ${e.message}`); }
    unknownFields(object, require.resolve(name).replace(/\.js$/, '.d.ts'), at, found);
}

const found = [];
const objects = yaml.loadAll(fs.readFileSync(0, 'utf8')).filter(Boolean);
for (const object of objects) check(object, found);
console.log(JSON.stringify({ objects, found }));
