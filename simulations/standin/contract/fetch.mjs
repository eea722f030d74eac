// Fetches the packages of Rocket.Chat that the check needs, each at one version, into vendor/.
//
// They cannot be installed as dependencies: @rocket.chat/core-typings names a dependency by yarn's `patch:`, which npm
// does not know. So their archives are fetched alone (`npm pack`), and what they need at run time is in package.json or,
// of core-typings, in core-typings.mjs.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const VENDOR = path.join(import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname), 'vendor', 'node_modules');

/** Where each package goes, and which it is. */
export const PACKAGES = {
	'@rocket.chat/ddp-client': '@rocket.chat/ddp-client@1.1.2',
	'@rocket.chat/api-client': '@rocket.chat/api-client@0.2.57',
	'@rocket.chat/emitter': '@rocket.chat/emitter@0.33.0',
	'rest-typings-7.0': '@rocket.chat/rest-typings@7.0.0',
	'rest-typings-7.13': '@rocket.chat/rest-typings@7.13.9',
	'rest-typings-8.0': '@rocket.chat/rest-typings@8.0.0',
	'rest-typings-8.8': '@rocket.chat/rest-typings@8.8.1',
};

for (const [place, spec] of Object.entries(PACKAGES)) {
	const target = path.join(VENDOR, place);
	// The version is part of a marker's name, so that another one is fetched anew.
	const marker = path.join(target, `.is-${spec.slice(spec.lastIndexOf('@') + 1)}`);
	if (existsSync(marker)) {
		continue;
	}
	console.log(`fetching ${spec}`);
	const work = mkdtempSync(path.join(tmpdir(), 'standin-'));
	try {
		execFileSync('npm', ['pack', '--silent', '--pack-destination', work, spec], { stdio: ['ignore', 'ignore', 'inherit'] });
		const [archive] = readdirSync(work).filter((name) => name.endsWith('.tgz'));
		execFileSync('tar', ['xzf', path.join(work, archive), '-C', work]);
		rmSync(target, { recursive: true, force: true });
		mkdirSync(path.dirname(target), { recursive: true });
		execFileSync('cp', ['-R', path.join(work, 'package'), target]);
		mkdirSync(marker);
	} finally {
		rmSync(work, { recursive: true, force: true });
	}
}
