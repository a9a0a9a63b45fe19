// SPDX-License-Identifier: GPL-2.0-or-later
/* A bytecode machine with a stack, once with a switch and once with a jump at each operation. The
 * program counts primes by trial division; it is data, made at run time. */
#include "suite.h"

enum op { PUSH, LOAD, STORE, ADD, MULTIPLY, REMAINDER, LESS, JUMP, JUMP_ZERO, STOP };

static int code[128];
static int size;

static void emit(int op, int operand)
{
	code[size++] = op;
	code[size++] = operand;
}

/* for (v0 = 2; v0 < limit; v0++) { for (v1 = 2; v1 * v1 <= v0; v1++) if (!(v0 % v1)) goto no;
 * v2++; no: } */
static void setup_program(u64 limit)
{
	int outer, inner, end, prime, composite;

	size = 0;
	emit(PUSH, 0), emit(STORE, 2), emit(PUSH, 2), emit(STORE, 0);
	outer = size;
	emit(LOAD, 0), emit(PUSH, (int)limit), emit(LESS, 0);
	end = size + 1, emit(JUMP_ZERO, 0);
	emit(PUSH, 2), emit(STORE, 1);
	inner = size;
	emit(LOAD, 0), emit(LOAD, 1), emit(LOAD, 1), emit(MULTIPLY, 0), emit(LESS, 0);
	prime = size + 1, emit(JUMP_ZERO, size + 4);
	emit(JUMP, 0);
	emit(LOAD, 0), emit(LOAD, 1), emit(REMAINDER, 0);
	composite = size + 1, emit(JUMP_ZERO, 0);
	emit(LOAD, 1), emit(PUSH, 1), emit(ADD, 0), emit(STORE, 1), emit(JUMP, inner);
	code[prime + 2] = size;
	emit(LOAD, 2), emit(PUSH, 1), emit(ADD, 0), emit(STORE, 2);
	code[composite] = size;
	emit(LOAD, 0), emit(PUSH, 1), emit(ADD, 0), emit(STORE, 0), emit(JUMP, outer);
	code[end] = size;
	emit(STOP, 0);
}

static u64 run_switch(u64 n)
{
	long stack[16], *sp = stack, variables[4] = { 0 };
	const int *ip = code;
	u64 steps = 0;

	for (;; steps++) {
		int operand = ip[1];

		switch (*ip) {
		case PUSH: *sp++ = operand; break;
		case LOAD: *sp++ = variables[operand]; break;
		case STORE: variables[operand] = *--sp; break;
		case ADD: sp--, sp[-1] += *sp; break;
		case MULTIPLY: sp--, sp[-1] *= *sp; break;
		case REMAINDER: sp--, sp[-1] = (int)sp[-1] % (int)*sp; break;
		case LESS: sp--, sp[-1] = sp[-1] < *sp; break;
		case JUMP: ip = code + operand; continue;
		case JUMP_ZERO:
			if (!*--sp) {
				ip = code + operand;
				continue;
			}
			break;
		case STOP: return mix(steps, variables[2]);
		}
		ip += 2;
	}
}

static u64 run_goto(u64 n)
{
	static const void *const labels[] = { &&push,      &&load, &&store, &&add,       &&multiply,
					      &&remainder, &&less, &&jump,  &&jump_zero, &&stop };
	long stack[16], *sp = stack, variables[4] = { 0 };
	const int *ip = code - 2;
	u64 steps = (u64)-1;

#define NEXT                       \
	do {                       \
		ip += 2;           \
		steps++;           \
		goto *labels[*ip]; \
	} while (0)
	NEXT;
push:
	*sp++ = ip[1];
	NEXT;
load:
	*sp++ = variables[ip[1]];
	NEXT;
store:
	variables[ip[1]] = *--sp;
	NEXT;
add:
	sp--, sp[-1] += *sp;
	NEXT;
multiply:
	sp--, sp[-1] *= *sp;
	NEXT;
remainder:
	sp--, sp[-1] = (int)sp[-1] % (int)*sp;
	NEXT;
less:
	sp--, sp[-1] = sp[-1] < *sp;
	NEXT;
jump:
	ip = code + ip[1] - 2;
	NEXT;
jump_zero:
	if (!*--sp)
		ip = code + ip[1] - 2;
	NEXT;
stop:
	return mix(steps, variables[2]);
}

const struct row interp_rows[] = {
	{ "switch", "interpreter", run_switch, 140000, setup_program },
	{ "goto", "interpreter", run_goto, 140000, setup_program },
	{},
};
