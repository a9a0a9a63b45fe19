/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The cases of long mode. */
#include "cases.h"

void image_main(void)
{
	frame_init();
	cases_exception();
	cases_branch();
	cases_paging();
	cases_pcid();
	cases_instruction();
	cases_segment();
	cases_syscall();
	cases_debug();
	cases_system();
	cases_fpu();
	plan_end();
}
