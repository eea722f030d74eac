// Lets node load rest-typings: it is written for a bundler, which finds `./Ajv` where node wants `./Ajv.js`.

import { existsSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';
import path from 'node:path';

const HERE = path.dirname(fileURLToPath(import.meta.url));

export async function resolve(specifier, context, next) {
	if (specifier === '@rocket.chat/core-typings') {
		return { url: pathToFileURL(path.join(HERE, 'core-typings.mjs')).href, shortCircuit: true };
	}
	if (/^ajv\/dist\/20(19|20)$/.test(specifier)) {
		return next(`${specifier}.js`, context);
	}
	if (specifier.startsWith('.') && context.parentURL?.includes('/rest-typings-')) {
		const base = path.resolve(path.dirname(fileURLToPath(context.parentURL)), specifier);
		const found = [base, `${base}.js`, path.join(base, 'index.js')].find((file) => file.endsWith('.js') && existsSync(file));
		if (found) {
			return { url: pathToFileURL(found).href, shortCircuit: true };
		}
	}
	return next(specifier, context);
}

export async function load(url, context, next) {
	if (url.includes('/rest-typings-') && url.endsWith('.js')) {
		return next(url, { ...context, format: 'module' });
	}
	return next(url, context);
}
