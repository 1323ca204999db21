/* SPDX-License-Identifier: MIT */
/* cfi.h - how to get from a function to its caller, by the tables of the program's files. Any context; no system calls. */
#ifndef TRACE_CFI_H
#define TRACE_CFI_H

#include "lib/compiler.h"

enum unwind_kind {
	UNWIND_NONE,
	UNWIND_SP,     /* the caller's stack pointer is rsp + cfa; the return address is below it */
	UNWIND_BP,     /* it is rbp + cfa */
	UNWIND_BP_AT,  /* it stands at rbp + cfa */
	UNWIND_SIGNAL, /* a signal frame: rsp points to what sigreturn(2) restores */
	UNWIND_END,    /* there is no caller */
	UNWIND_HARD,   /* a table has it, in a way that is not followed here */
	UNWIND_UNKNOWN, /* no table has the address */
};

enum unwind_bp {
	UNWIND_BP_SAME, /* the caller's rbp is rbp */
	UNWIND_BP_CFA,	/* it stands at the caller's stack pointer + bp */
	UNWIND_BP_BP,	/* it stands at rbp + bp */
};

struct unwind_rule {
	uint8_t kind;	 /* enum unwind_kind */
	uint8_t bp_kind; /* enum unwind_bp */
	int32_t cfa, bp; /* bytes */
};

/* The rule for an instruction. `ip` is that of a call, or of what a signal interrupted. */
void cfi_find_rule(uintptr_t ip, struct unwind_rule *rule);

#endif
