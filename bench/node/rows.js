// SPDX-License-Identifier: GPL-2.0-or-later
// Work for a JavaScript engine that compiles while it runs: what it emits, patches, optimises, throws
// away again and collects. Each row does a fixed amount of work and returns a number that says what
// came out; no row looks at the time.
//
//   node rows.js            all rows: "NAME CHECKSUM", one a line
//   node rows.js --list     "INDEX NAME", one a line
//   node rows.js --serve    the talk of bench/suite/main.c on standard input and output
'use strict';

// The same numbers on each engine, whatever its Math.random().
function random(seed) {
	let state = seed >>> 0;
	return () => {
		state = (state + 0x9e3779b9) | 0;
		let z = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
		z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
		return (z ^ (z >>> 15)) >>> 0;
	};
}

function mix(sum, value) {
	return (Math.imul(sum ^ value, 0x01000193) + (sum >>> 13)) >>> 0;
}

function mixText(sum, text) {
	for (let i = 0; i < text.length; i++)
		sum = mix(sum, text.charCodeAt(i));
	return sum;
}

// ---- objects that talk to each other: an office whose clerks pass papers on -------------------

class Paper {
	constructor(number, kind) {
		this.number = number;
		this.kind = kind;
		this.stamps = 0;
		this.next = null;
	}
}

class Tray {
	constructor() {
		this.first = this.last = null;
		this.count = 0;
	}
	put(paper) {
		paper.next = null;
		if (this.last)
			this.last.next = paper;
		else
			this.first = paper;
		this.last = paper;
		this.count++;
	}
	take() {
		const paper = this.first;
		this.first = paper.next;
		if (!this.first)
			this.last = null;
		this.count--;
		return paper;
	}
}

class Clerk {
	constructor(office) {
		this.office = office;
		this.tray = new Tray();
		this.worked = 0;
	}
	get idle() {
		return this.tray.count === 0;
	}
	work() {
		this.worked++;
		const paper = this.tray.take();
		paper.stamps = mix(paper.stamps, this.worked);
		this.handle(paper);
	}
}

class Sorter extends Clerk {
	handle(paper) {
		const clerks = this.office.clerks;
		clerks[1 + ((paper.kind + paper.number) % (clerks.length - 1))].tray.put(paper);
	}
}

class Counter extends Clerk {
	constructor(office) {
		super(office);
		this.total = 0;
	}
	handle(paper) {
		this.total = (this.total + paper.number * paper.kind) | 0;
		if (paper.stamps & 1)
			this.office.clerks[0].tray.put(paper);
		else
			this.office.done.put(paper);
	}
}

class Returner extends Clerk {
	handle(paper) {
		paper.kind = (paper.kind * 5 + 3) & 15;
		(paper.kind ? this.office.clerks[0].tray : this.office.done).put(paper);
	}
}

class Copier extends Clerk {
	handle(paper) {
		if (paper.number % 7 === 0 && this.office.copies-- > 0) {
			const copy = new Paper(paper.number + 1, paper.kind ^ 1);
			copy.stamps = paper.stamps;
			this.office.clerks[0].tray.put(copy);
		}
		this.office.done.put(paper);
	}
}

function office(scale) {
	let sum = 1;
	for (let day = 0; day < 36 * scale; day++) {
		const place = { clerks: [], done: new Tray(), copies: 500 };
		place.clerks.push(new Sorter(place), new Counter(place), new Returner(place),
			new Copier(place), new Counter(place));
		for (let i = 0; i < 3000; i++)
			place.clerks[0].tray.put(new Paper(i + day, i % 11));
		for (let busy = true; busy;) {
			busy = false;
			for (const clerk of place.clerks) {
				for (let n = 0; n < 40 && !clerk.idle; n++) {
					clerk.work();
					busy = true;
				}
			}
		}
		while (place.done.count) {
			const paper = place.done.take();
			sum = mix(sum, paper.stamps ^ paper.number);
		}
		for (const clerk of place.clerks)
			sum = mix(sum, clerk.worked);
	}
	return sum;
}

// ---- constraints between variables, planned and carried out again and again -------------------

class Variable {
	constructor(value) {
		this.value = value;
		this.users = [];
		this.mark = 0;
	}
}

class Constraint {
	constructor(output, ...inputs) {
		this.output = output;
		this.inputs = inputs;
		for (const input of inputs)
			input.users.push(this);
	}
}

class Sum extends Constraint {
	execute() {
		this.output.value = (this.inputs[0].value + this.inputs[1].value) | 0;
	}
}

class Scale extends Constraint {
	constructor(output, input, factor, offset) {
		super(output, input);
		this.factor = factor;
		this.offset = offset;
	}
	execute() {
		this.output.value = (Math.imul(this.inputs[0].value, this.factor) + this.offset) | 0;
	}
}

class Largest extends Constraint {
	execute() {
		this.output.value = Math.max(...this.inputs.map((input) => input.value));
	}
}

class Chosen extends Constraint {
	execute() {
		const [condition, one, other] = this.inputs;
		this.output.value = condition.value & 1 ? one.value : other.value;
	}
}

// What depends on a variable, in the order in which it has to be computed.
function plan(variable, mark) {
	const order = [];
	const visit = (v) => {
		if (v.mark === mark)
			return;
		v.mark = mark;
		for (const user of v.users) {
			visit(user.output);
			if (!order.includes(user))
				order.push(user);
		}
	};
	visit(variable);
	return order.reverse();
}

function constraints(scale) {
	const next = random(5), variables = [];
	for (let i = 0; i < 8; i++)
		variables.push(new Variable(i));
	const any = () => variables[Math.max(0, variables.length - 1 - (next() % 12))];
	for (let i = 0; i < 150; i++) {
		const output = new Variable(0);
		switch (next() % 4) {
		case 0: new Sum(output, any(), any()); break;
		case 1: new Scale(output, any(), (next() % 9) - 4, next() % 100); break;
		case 2: new Largest(output, any(), any(), any()); break;
		default: new Chosen(output, any(), any(), any());
		}
		variables.push(output);
	}
	let sum = 1;
	for (let round = 1; round <= 2400 * scale; round++) {
		const changed = variables[round % 8];
		changed.value = next() & 0xffff;
		for (const constraint of plan(changed, round))
			constraint.execute();
		sum = mix(sum, variables[variables.length - 1 - (round % 20)].value);
	}
	return sum;
}

// ---- numbers ------------------------------------------------------------------------------------

function hash(scale) {
	const words = new Map();
	let sum = 0x811c9dc5;
	for (let i = 0; i < 6600000 * scale; i++) {
		sum = Math.imul(sum ^ (i & 0xff), 0x01000193);
		sum ^= sum >>> 15;
		if (i % 16 === 0) {
			const word = 'w' + (sum & 0x3fff);
			words.set(word, (words.get(word) | 0) + 1);
		}
	}
	for (const [word, count] of words)
		sum = mix(sum, word.length * 1000 + count);
	return sum >>> 0;
}

function typed(scale) {
	const n = 96, a = new Float64Array(n * n), b = new Float64Array(n * n);
	const c = new Float64Array(n * n), bytes = new Uint8Array(c.buffer);
	let sum = 1;
	for (let i = 0; i < n * n; i++) {
		a[i] = (i % 17) / 3;
		b[i] = (i % 23) - 11;
	}
	for (let turn = 0; turn < 36 * scale; turn++) {
		for (let i = 0; i < n; i++) {
			for (let j = 0; j < n; j++) {
				let s = 0;
				for (let k = 0; k < n; k++)
					s += a[i * n + k] * b[k * n + j];
				c[i * n + j] = s;
			}
		}
		a.set(c.subarray(0, n), (turn % n) * n);
		for (let i = 0; i < n; i++)
			a[(turn % n) * n + i] = Math.fround(a[(turn % n) * n + i] % 100);
	}
	for (const byte of bytes)
		sum = mix(sum, byte);
	const sieve = new Int8Array(600000 * scale);
	for (let i = 2; i < sieve.length; i++) {
		if (sieve[i])
			continue;
		sum = mix(sum, i);
		for (let j = 2 * i; j < sieve.length; j += i)
			sieve[j] = 1;
	}
	return sum;
}

function floats(scale) {
	const bodies = [];
	for (let i = 0; i < 6; i++)
		bodies.push({ x: i * 1.5, y: 7 - i, z: i * i / 3, vx: 0, vy: i / 10, vz: 0, mass: 1 + i / 4 });
	for (let step = 0; step < 400000 * scale; step++) {
		for (let i = 0; i < bodies.length; i++) {
			for (let j = i + 1; j < bodies.length; j++) {
				const p = bodies[i], q = bodies[j];
				const dx = p.x - q.x, dy = p.y - q.y, dz = p.z - q.z;
				const d = dx * dx + dy * dy + dz * dz + 0.01, f = 0.001 / (d * Math.sqrt(d));
				p.vx -= dx * q.mass * f;
				p.vy -= dy * q.mass * f;
				p.vz -= dz * q.mass * f;
				q.vx += dx * p.mass * f;
				q.vy += dy * p.mass * f;
				q.vz += dz * p.mass * f;
			}
		}
		for (const body of bodies) {
			body.x += 0.001 * body.vx;
			body.y += 0.001 * body.vy;
			body.z += 0.001 * body.vz;
		}
	}
	const words = new Uint32Array(new Float64Array(bodies.flatMap((b) => [b.x, b.y, b.z])).buffer);
	return words.reduce(mix, 1);
}

function bigint(scale) {
	let a = 1n, b = 1n, sum = 1;
	for (let i = 0; i < 9000 * scale; i++)
		[a, b] = [b, a * 3n + b];
	for (let i = 1n; i < BigInt(Math.ceil(6000 * scale)); i++)
		sum = mix(sum, Number((b / (i * i + 1n) ** 7n ^ a) & 0xffffffffn));
	return mixText(sum, b.toString());
}

// ---- texts --------------------------------------------------------------------------------------

const SYLLABLES = ['ka', 'to', 'mi', 'ren', 'sol', 'u', 'vash', 'ti', 'or', 'bel'];

function prose(count, seed) {
	const next = random(seed), words = [];
	for (let i = 0; i < count; i++) {
		let word = '';
		for (let n = 1 + next() % 4; n > 0; n--)
			word += SYLLABLES[next() % SYLLABLES.length];
		words.push(i % 9 ? word : word + next() % 1000);
	}
	return words.join(' ');
}

function json(scale) {
	const next = random(9), list = [];
	let sum = 1;
	for (let i = 0; i < 700; i++) {
		list.push({ id: i, name: prose(3, i), ok: i % 3 === 0, share: next() / 7,
			tags: SYLLABLES.slice(0, i % 5), inner: { depth: [i, [i + 1, [null, -i]]], 'ü': 'é\n"' } });
	}
	for (let turn = 0; turn < 26 * scale; turn++) {
		const text = JSON.stringify(list, null, turn % 2);
		const back = JSON.parse(text, turn % 5 ? undefined : (key, value) =>
			key === 'share' ? Math.floor(value) : value);
		sum = mix(sum, text.length + back[turn].inner.depth[1][0]);
		list[turn % list.length].name = text.slice(turn * 10, turn * 10 + 20);
	}
	return mixText(sum, JSON.stringify(list).slice(-20000));
}

function regex(scale) {
	let sum = 1;
	for (let turn = 0; turn < 12 * scale; turn++) {
		const text = prose(12000, turn);
		const patterns = [/\b(\w)\w*\1\b/g, /(?:ka|to)+(?=mi|ren)/g, /[aeiou]{2,}\w*?(\d+)/g,
			/(?<first>\w+) (?<second>\w+) \k<first>/g, new RegExp(`sol.{0,${turn + 3}}vash`, 'gi'),
			/(?<!ti)or(?!bel)/g];
		for (const pattern of patterns) {
			for (const match of text.matchAll(pattern))
				sum = mix(sum, match.index + match[0].length);
		}
		sum = mix(sum, text.replace(/(\w+) (\w+)/g, (all, a, b) => b + a.length).length);
		sum = mix(sum, text.split(/\s|\d/).length);
	}
	return sum;
}

function strings(scale) {
	let sum = 1;
	for (let turn = 0; turn < 9 * scale; turn++) {
		const words = prose(9000, turn + 100).split(' ');
		words.sort((a, b) => a.length - b.length || (a < b ? -1 : a > b ? 1 : 0));
		const counts = {};
		for (const word of words)
			counts[word] = (counts[word] || 0) + 1;
		let rope = '';
		for (const word of Object.keys(counts).sort())
			rope += `${word}:${counts[word]};`;
		sum = mixText(sum, rope.toUpperCase().padEnd(20, '*'));
		sum = mix(sum, [...rope].reverse().join('').indexOf('ihs'));
		sum = mix(sum, Buffer.from(rope).toString('base64').length + rope.codePointAt(turn));
	}
	return sum;
}

// ---- what makes a compiler change its mind ------------------------------------------------------

function* numbers(count) {
	for (let i = 0; i < count; i++) {
		const told = yield i;
		if (told)
			i += told;
	}
}

function closures(scale) {
	let sum = 1;
	const compose = (...all) => (x) => all.reduce((value, step) => step(value), x);
	for (let turn = 0; turn < 600 * scale; turn++) {
		const steps = [(x) => x + turn, (x) => Math.imul(x, 31), (x) => x ^ (x >>> 7)];
		const all = compose(...steps, ...steps);
		for (const n of numbers(600))
			sum = mix(sum, all(n));
		const walk = numbers(2000);
		for (let at = walk.next(); !at.done; at = walk.next(at.value % 3))
			sum = mix(sum, at.value);
		try {
			[1, 2, 3].forEach((x) => {
				if (x * turn % 5 === 4)
					throw new RangeError(`${x} ${turn}`);
			});
		} catch (error) {
			sum = mixText(sum, error.message);
		} finally {
			sum = mix(sum, turn);
		}
	}
	return sum;
}

// The same function sees integers, then fractions, texts, objects of other shapes, large integers.
function opinions(scale) {
	const add = (a, b) => a + b;
	const area = (thing) => thing.width * thing.height;
	const shapes = [(i) => ({ width: i, height: 2 }), (i) => ({ height: i, width: 3 }),
		(i) => ({ name: 'x', width: i / 3, height: i }), (i) => ({ width: i, height: 4, depth: 5 }),
		(i) => Object.create({ width: 7 }, { height: { get: () => i } })];
	const things = [(i) => i, (i) => i / 7, (i) => 'n' + i, (i) => 0x7fffffff - i, (i) => [i]];
	let sum = 1;
	for (let turn = 0; turn < 12 * scale; turn++) {
		const thing = things[turn % things.length], shape = shapes[turn % shapes.length];
		for (let i = 0; i < 6000; i++) {
			const both = add(thing(i), turn % 7 === 6 ? 0.5 : thing(turn));
			sum = mix(sum, typeof both === 'number' ? both | 0 : both.length);
			sum = mix(sum, area(shape(i)) | 0);
		}
		// a function that is new each time
		const fresh = new Function('x', `let s = ${turn}; for (let i = 0; i < 500; i++)` +
			` s = (s * ${turn + 3} + x + i) % 65521; return s;`);
		for (let i = 0; i < 60; i++)
			sum = mix(sum, fresh(i));
	}
	return sum;
}

function garbage(scale) {
	const tree = (depth) => depth ? { left: tree(depth - 1), right: tree(depth - 1) } : null;
	const count = (node) => node ? 1 + count(node.left) + count(node.right) : 0;
	const kept = tree(13), cache = new WeakMap();
	let sum = 1;
	for (let turn = 0; turn < 500 * scale; turn++) {
		const short = tree(11);
		cache.set(short, turn);
		sum = mix(sum, count(short) + cache.get(short));
		sum = mix(sum, new Array(3000).fill(turn).map((x, i) => x ^ i).filter((x) => x % 3).length);
	}
	return mix(sum, count(kept));
}

// ---- WebAssembly ----------------------------------------------------------------------------------

// (func (param i32) (result i32) (local i32 i32)
//   loop: $1 = ($1 * 1664525 + 1013904223) ^ ($1 >>> 13); store8($1 & 0xffff, $1);
//         $2 += load8(($1 >>> 9) & 0xffff); while --$0; return $2 ^ $1), and one page of memory
const section = (number, bytes) => [number, bytes.length, ...bytes];
const BODY = [1, 2, 0x7f, // two locals
	0x03, 0x40, // loop
	0x20, 1, 0x41, 0x8d, 0xcc, 0xe5, 0x00, 0x6c, // $1 * 1664525
	0x41, 0xdf, 0xe6, 0xbb, 0xe3, 0x03, 0x6a, // + 1013904223
	0x20, 1, 0x41, 13, 0x76, 0x73, 0x21, 1, // ^ $1 >>> 13
	0x20, 1, 0x41, 0xff, 0xff, 0x03, 0x71, 0x20, 1, 0x3a, 0, 0, // store8
	0x20, 1, 0x41, 9, 0x76, 0x41, 0xff, 0xff, 0x03, 0x71, 0x2d, 0, 0, // load8
	0x20, 2, 0x6a, 0x21, 2,
	0x20, 0, 0x41, 1, 0x6b, 0x22, 0, 0x0d, 0, 0x0b, // --$0, br_if, end
	0x20, 2, 0x20, 1, 0x73, 0x0b];
const WASM = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
	...section(1, [1, 0x60, 1, 0x7f, 1, 0x7f]), // types
	...section(3, [1, 0]), // functions
	...section(5, [1, 0, 1]), // memory
	...section(7, [1, 3, 0x72, 0x75, 0x6e, 0, 0]), // exports: run
	...section(10, [1, BODY.length, ...BODY])];

function wasm(scale) {
	const module = new WebAssembly.Module(new Uint8Array(WASM));
	let sum = 1;
	for (let turn = 0; turn < 8; turn++) {
		const { exports } = new WebAssembly.Instance(module);
		sum = mix(sum, exports.run(Math.ceil(7500000 * scale) + turn));
	}
	return sum;
}

// ---- threads --------------------------------------------------------------------------------------

// Each of them takes turns with the others at the same words; the last one there wakes this one.
function worker(words, self, count, turns) {
	let sum = self;
	for (let i = 0; i < turns; i++) {
		sum = (Math.imul(sum, 1103515245) + 12345) | 0;
		Atomics.add(words, 8 + (sum >>> 22), sum & 0xff);
		if (i % 64 === 0) {
			while (Atomics.compareExchange(words, 1, 0, 1) !== 0)
				Atomics.wait(words, 1, 1);
			words[2] = (words[2] + i) | 0; // nobody else is here
			Atomics.store(words, 1, 0);
			Atomics.notify(words, 1, 1);
		}
	}
	Atomics.xor(words, 3, sum);
	if (Atomics.add(words, 0, 1) === count - 1)
		Atomics.notify(words, 0);
}

function workers(scale) {
	const { Worker } = require('worker_threads'), count = 3;
	const words = new Int32Array(new SharedArrayBuffer(4 * 1032)), started = [];
	for (let self = 0; self < count; self++) {
		started.push(new Worker(`(${worker})(...require('worker_threads').workerData)`,
			{ eval: true, workerData: [words, self, count, Math.ceil(500000 * scale)] }));
	}
	for (let done; (done = Atomics.load(words, 0)) < count;)
		Atomics.wait(words, 0, done);
	started.forEach((one) => one.unref());
	return words.subarray(2).reduce(mix, 1);
}

const ROWS = [office, constraints, hash, typed, floats, bigint, json, regex, strings, closures,
	opinions, garbage, wasm,
	workers];

// ---- the talk -------------------------------------------------------------------------------------

function serve() {
	const say = (...words) => process.stdout.write(`bench: ${words.join(' ')}\n`);
	let row, scale;
	require('readline').createInterface({ input: process.stdin }).on('line', (line) => {
		const words = line.trim().split(/\s+/);
		if (words.length === 2) {
			[row, scale] = [ROWS[+words[0]], +words[1] / 1000];
			say('ready');
			return;
		}
		const before = process.cpuUsage(), sum = row(scale), spent = process.cpuUsage(before);
		say('done', sum.toString(16), (spent.user + spent.system) * 1000);
	}).on('close', () => process.exit(0));
	say('booted');
}

if (process.argv.includes('--serve'))
	serve();
else
	ROWS.forEach((row, index) => console.log(...(process.argv.includes('--list') ? [index, row.name]
		: [row.name, row(1).toString(16)])));
