/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One processor. acpi.c repeats the body of this table for each, with name and number patched.
 */
DefinitionBlock ("ssdt_cpu.aml", "SSDT", 2, "LODGE ", "LODGECPU", 1)
{
	Scope (\_SB)
	{
		Device (CPXX)
		{
			Name (_HID, "ACPI0007")
			Name (_UID, 0xA5A5A5A5)
		}
	}
}
