/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The decoder's view of the guest's CPUID contract: which instruction sets exist.
 */
#ifndef LODGE_CPU_X86_DECODE_H
#define LODGE_CPU_X86_DECODE_H

#include "cpu/arch.h"
#include "cpu/x86/insn.h"
#include <Zydis/Zydis.h>

struct insn_contract {
	ZydisDecoder decoder[3];                /* by enum insn_mode */
	u8 hidden[ZYDIS_ISA_SET_MAX_VALUE + 1]; /* 1: instructions of this set are #UD */
};

/* Everything is offered until insn_contract_hide(). */
void insn_contract_init(struct insn_contract *contract);
void insn_contract_hide(struct insn_contract *contract, unsigned isa);

/* Is there a row that lets the host run this ZydisMnemonic, in some form? */
bool insn_host_may_run(unsigned mnemonic);

#endif
