// node check.mjs [--standin BINARY] [--requests FILE]
//
// 1. Every request of FILE against the validators that Rocket.Chat publishes, for four versions.
// 2. Rocket.Chat's own DDP client against the stand-in, for the same versions.

import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { drive } from './drive.mjs';
import { VERSIONS, validatorsOf, wrong } from './validate.mjs';

const HERE = path.dirname(fileURLToPath(import.meta.url));
const { values } = parseArgs({
	options: {
		standin: { type: 'string' },
		requests: { type: 'string', default: path.join(HERE, 'requests.json') },
	},
});

let failures = 0;
const fail = (text) => {
	failures += 1;
	console.error(`FAILED  ${text}`);
};

const requests = JSON.parse(readFileSync(values.requests, 'utf8'));
for (const version of VERSIONS) {
	const exported = await validatorsOf(version);
	let looked = 0;
	for (const request of requests) {
		if (request.versions && !request.versions.includes(version)) {
			continue;
		}
		looked += 1;
		const fault = wrong(exported, version, request);
		if (fault) {
			fail(`${version}  ${request.method} ${request.path}  ${fault}`);
		}
	}
	console.log(`${version}  ${looked} requests held against rest-typings`);
}

if (values.standin) {
	for (const version of VERSIONS) {
		try {
			const heard = await drive(path.resolve(values.standin), version);
			console.log(`${version}  ddp-client heard ${heard.join(', ')}`);
		} catch (error) {
			fail(`${version}  ${error.stack ?? error}`);
		}
	}
} else {
	console.log('No stand-in was named (--standin BINARY), so ddp-client was not tried.');
}

console.log(failures === 0 ? 'The contract holds.' : `The contract is broken in ${failures} places.`);
process.exit(failures === 0 ? 0 : 1);
