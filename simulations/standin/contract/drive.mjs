// Drives the stand-in with Rocket.Chat's own DDP client: connects, logs in by a personal access token, listens to the
// streams of the contract, and has somebody do what they tell of.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

import WebSocket from 'ws';

// The client looks for the one of a browser.
globalThis.WebSocket ??= WebSocket;

const { DDPSDK } = (await import('./vendor/node_modules/@rocket.chat/ddp-client/dist/index.js')).default;

const PATIENCE_MS = 10_000;

/** Starts a stand-in of a version, and gives what was heard of it. */
export async function drive(binary, version) {
	const args = ['--listen', '127.0.0.1:0', '--like', version, '--service', 'bridge', '--person', 'alice'];
	const child = spawn(binary, args, { stdio: ['ignore', 'pipe', 'inherit'] });
	const ended = once(child, 'exit');
	try {
		const accounts = {};
		let url;
		for await (const line of createInterface({ input: child.stdout })) {
			if (line.startsWith('account ')) {
				const account = JSON.parse(line.slice('account '.length));
				accounts[account.username] = account;
			} else if (line.startsWith('listening on ')) {
				url = line.slice('listening on '.length);
				break;
			}
		}
		if (!url) {
			throw new Error('the stand-in did not start');
		}
		return await converse(url, accounts);
	} finally {
		child.kill('SIGKILL');
		await ended;
	}
}

async function converse(url, { bridge, alice }) {
	const sdk = await DDPSDK.createAndConnect(url);
	try {
		await sdk.account.loginWithToken(bridge.token);
		if (sdk.account.uid !== bridge.userId) {
			throw new Error(`logged in as ${sdk.account.uid}, not as ${bridge.userId}`);
		}
		const heard = [];
		const listen = async (stream, key) => {
			const subscription = sdk.stream(stream, [key, {}], (...args) => heard.push({ event: `${stream} ${key.replace(/^[^/]*\//, '…/')}`, args }));
			await subscription.ready();
		};
		const until = async (what, condition) => {
			const begun = Date.now();
			while (!heard.some(condition)) {
				if (Date.now() - begun > PATIENCE_MS) {
					throw new Error(`in vain: ${what}; heard ${JSON.stringify(heard)}`);
				}
				await new Promise((resolve) => setTimeout(resolve, 20));
			}
		};
		const message = (condition) => ({ event, args }) => event === 'room-messages __my_messages__' && condition(...args);

		await listen('room-messages', '__my_messages__');
		await listen('notify-user', `${bridge.userId}/subscriptions-changed`);
		await listen('notify-user', `${bridge.userId}/rooms-changed`);
		await listen('notify-logged', 'user-status');
		await refused(listen('notify-user', `${alice.userId}/subscriptions-changed`));

		const ask = caller(url, alice);
		const { channel } = await ask('channels.create', { name: 'lunch', members: ['bridge'] });
		await until('the room appears', ({ event, args }) => event === 'notify-user …/subscriptions-changed' && args[0] === 'inserted');
		await listen('notify-room', `${channel._id}/deleteMessage`);

		const sent = await ask('chat.sendMessage', { message: { rid: channel._id, msg: 'Who is hungry?' } });
		await until('a message', message((told, about) => told.msg === 'Who is hungry?' && typeof told.ts.$date === 'number' && about.roomParticipant === true && about.roomType === 'c'));
		await ask('chat.update', { roomId: channel._id, msgId: sent.message._id, text: 'Who is very hungry?' });
		await until('its edit', message((told) => told.msg === 'Who is very hungry?' && told.editedAt));
		await ask('chat.react', { messageId: sent.message._id, emoji: ':pizza:', shouldReact: true });
		await until('its reaction', message((told) => told.reactions?.[':pizza:']?.usernames.includes('alice')));
		await ask('users.setStatus', { status: 'away', message: '' });
		await until('a status', ({ event, args }) => event === 'notify-logged user-status' && args[0][0] === alice.userId && args[0][2] === 2);
		await ask('chat.delete', { roomId: channel._id, msgId: sent.message._id });
		await until('its end', ({ event, args }) => event === 'notify-room …/deleteMessage' && args[0]._id === sent.message._id);

		// The REST client that comes with it, as whom it logged in.
		const me = await sdk.rest.get('/v1/me');
		if (me.username !== 'bridge') {
			throw new Error(`the REST client is ${JSON.stringify(me)}`);
		}
		return [...new Set(heard.map(({ event }) => event))];
	} finally {
		sdk.connection.close();
	}
}

async function refused(listening) {
	try {
		await listening;
	} catch {
		return;
	}
	throw new Error('somebody else could be listened to');
}

function caller(url, account) {
	return async (call, body) => {
		const response = await fetch(`${url}/api/v1/${call}`, {
			method: 'POST',
			headers: { 'content-type': 'application/json', 'x-auth-token': account.token, 'x-user-id': account.userId },
			body: JSON.stringify(body),
		});
		const answer = await response.json();
		if (!response.ok || answer.success !== true) {
			throw new Error(`${call}: ${response.status} ${JSON.stringify(answer)}`);
		}
		return answer;
	};
}
