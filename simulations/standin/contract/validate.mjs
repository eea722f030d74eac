// Holds requests against the validators of one version. Validators turn what they look at into the types that they want; a
// text where a number belongs would pass unseen. So each looks at a copy, which must come out as it went in. What stands
// behind a path is text by nature: there a copy may differ by type, and must read the same.

import { register } from 'node:module';
import { isDeepStrictEqual } from 'node:util';

import { HELD_SINCE, LATER, SINCE, UNCHECKED, VALIDATORS } from './calls.mjs';

register('./hooks.mjs', import.meta.url);

export const VERSIONS = ['7.0', '7.13', '8.0', '8.8'];

/** Loads what a version exports, without its remarks about its own schemas. */
export async function validatorsOf(version) {
	const warn = console.warn;
	console.warn = () => {};
	try {
		return await import(`./vendor/node_modules/rest-typings-${version}/dist/index.js`);
	} finally {
		console.warn = warn;
	}
}

/** What is wrong with a request, or nothing. */
export function wrong(exported, version, request) {
	const call = `${request.method} ${request.path.split('/')[0]}`;
	const since = SINCE[call] ?? HELD_SINCE[call];
	if (since && VERSIONS.indexOf(version) < VERSIONS.indexOf(since)) {
		return undefined;
	}
	const later = LATER[call];
	const [name, part] = VALIDATORS[call] ?? (later && exported[later[0]] ? later : []);
	if (!name) {
		return UNCHECKED[call] ? undefined : 'no published validator is named for it in calls.mjs';
	}
	const validator = exported[name];
	if (typeof validator !== 'function') {
		return `${name} is not exported`;
	}
	const asked = request[part] ?? {};
	const copy = structuredClone(asked);
	if (!validator(copy)) {
		return `${name}: ${(validator.errors ?? []).map((error) => `${error.instancePath} ${error.message}`.trim()).join('; ')}`;
	}
	if (part === 'body' && !isDeepStrictEqual(copy, asked)) {
		return `${name} takes it only after it has turned ${JSON.stringify(asked)} into ${JSON.stringify(copy)}`;
	}
	if (part === 'query') {
		for (const [key, value] of Object.entries(asked)) {
			if (String(copy[key]) !== value) {
				return `${name} reads ${key}=${value} as ${JSON.stringify(copy[key])}`;
			}
		}
	}
	return undefined;
}
