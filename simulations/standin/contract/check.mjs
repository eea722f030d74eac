// node check.mjs [--standin BINARY] [--requests FILE]
//
// 1. Every request of requests.json, and of FILE, against the validators that Rocket.Chat publishes, for four versions. FILE is a
//    list in JSON, or has one request a line, as a stand-in writes down what programs ask of it.
// 2. Every call that the connector's sources name against requests.json: none is left out.
// 3. Rocket.Chat's own DDP client against the stand-in, for the same versions.

import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { drive } from './drive.mjs';
import { VERSIONS, validatorsOf, wrong } from './validate.mjs';

const HERE = path.dirname(fileURLToPath(import.meta.url));
const { values } = parseArgs({
	options: {
		standin: { type: 'string' },
		requests: { type: 'string' },
	},
});

let failures = 0;
const fail = (text) => {
	failures += 1;
	console.error(`FAILED  ${text}`);
};

/** The requests of a file. Those that are the same are one: a recorded file has many. */
function requestsOf(file) {
	const text = readFileSync(file, 'utf8').trim();
	const list = text.startsWith('[') ? JSON.parse(text) : text.split('\n').filter(Boolean).map((line) => JSON.parse(line));
	return [...new Map(list.map((request) => [JSON.stringify(request), request])).values()];
}

/** What the connector names in its own folder of the client, tests left out: calls have an area and a name. */
function named() {
	const client = path.join(HERE, '../../../node/src/rocketchat/client');
	const sources = readdirSync(client).filter((file) => file.endsWith('.rs') && file !== 'tests.rs');
	const text = sources.map((file) => readFileSync(path.join(client, file), 'utf8')).join('\n');
	const areas = 'channels|chat|groups|im|permissions|rooms|subscriptions|users';
	return new Set([...text.matchAll(new RegExp(`"((?:${areas})\\.[a-zA-Z]+)"`, 'g'))].map((found) => found[1]));
}

const listed = requestsOf(path.join(HERE, 'requests.json'));
const unlisted = [...named()].filter((call) => !listed.some((request) => request.path.split('/')[0] === call));
for (const call of unlisted) {
	fail(`${call} is called by the connector, and requests.json has no request of it`);
}
const requests = [...listed, ...(values.requests ? requestsOf(values.requests) : [])];
for (const request of requests) {
	// A recording does not say which release it was made with. The connector asks for pages from 7.13 on only.
	if (request.path === 'chat.syncMessages' && request.query?.type) {
		request.versions ??= VERSIONS.filter((version) => version !== '7.0');
	}
}
if (requests.length === 0) {
	fail('there is no request to look at');
}
/** What is wrong with a call, and how often. */
const faults = new Map();
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
			// Ids in a path say nothing about what is wrong.
			const told = `${version}  ${request.method} ${request.path.split('/')[0]}  ${fault}`;
			const before = faults.get(told);
			faults.set(told, { times: (before?.times ?? 0) + 1, request: before?.request ?? request });
		}
	}
	console.log(`${version}  ${looked} requests held against rest-typings`);
}
for (const [told, { times, request }] of faults) {
	fail(`${told}\n        ${times} times, such as ${JSON.stringify(request)}`);
}
const calls = new Set(requests.map((request) => `${request.method} ${request.path.split('/')[0]}`));
console.log(`They are of ${calls.size} calls: ${[...calls].sort().join(', ')}`);

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
