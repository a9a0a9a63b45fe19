/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is not there, for people: clients know by the code of the error that a call is not served,
 * and who reads its text shall learn what lacks and what to do instead.
 */
#include "daemon/daemon.h"

#include <string.h>

static const struct {
	const char *prefix; /* of the names of calls; the longest that fits counts */
	const char *text;
} rows[] = {
	{ "connect_domain_xml", "command lines of other hypervisors are not in this version" },
	{ "connect_find_storage_pool_sources",
	  "looking for a server's pools is not in this version; define one by its folder" },
	{ "connect_get_sysinfo", "the host's SMBIOS tables are not in this version" },
	{ "domain_abort_job", "there are no jobs that could be ended in this version" },
	{ "domain_add_iothread", "I/O threads are not in this version: a disk has its own" },
	{ "domain_agent", "guest agents are not asked in this version" },
	{ "domain_authorized_ssh_keys", "guest agents are not asked in this version" },
	{ "domain_backup", "backups are not in this version; copy the disks of a guest that is "
			   "shut off" },
	{ "domain_block_commit", "images with backing files are not in this version" },
	{ "domain_block_copy", "copying a running guest's disks is not in this version" },
	{ "domain_block_job", "jobs on disks are not in this version" },
	{ "domain_block_peek", "looking into a guest's disks is not in this version" },
	{ "domain_block_pull", "images with backing files are not in this version" },
	{ "domain_block_rebase", "images with backing files are not in this version" },
	{ "domain_block_resize", "a running guest's disks keep their size in this version; resize "
				 "the image (virsh vol-resize) of a guest that is shut off" },
	{ "domain_checkpoint", "checkpoints are not in this version" },
	{ "domain_core_dump", "dumps of guests are not in this version" },
	{ "domain_del_iothread", "I/O threads are not in this version: a disk has its own" },
	{ "domain_del_throttle_group",
	  "throttling of disks is not in this version; virsh blkiotune "
	  "limits guests" },
	{ "domain_fs", "guest agents are not asked in this version" },
	{ "domain_get_block_io_tune", "throttling of disks is not in this version; virsh blkiotune "
				      "limits guests" },
	{ "domain_get_fsinfo", "guest agents are not asked in this version" },
	{ "domain_get_guest", "guest agents are not asked in this version" },
	{ "domain_get_hostname", "guest agents are not asked in this version" },
	{ "domain_get_interface_parameters", "limits of network cards are not in this version" },
	{ "domain_get_launch_security", "encrypted guest memory is not in this version" },
	{ "domain_get_perf_events", "counters of the host's processors are not in this version" },
	{ "domain_get_time", "guest agents are not asked in this version" },
	{ "domain_graphics", "graphics are not in this version; use the serial console" },
	{ "domain_managed_save", "saving guests is not in this version; virsh shutdown ends one" },
	{ "domain_memory_peek", "looking into a guest's memory is not in this version" },
	{ "domain_migrate", "migration is not in this version" },
	{ "domain_open_channel", "channels are not opened for clients in this version" },
	{ "domain_open_graphics", "graphics are not in this version; use the serial console" },
	{ "domain_pin_iothread", "I/O threads are not in this version: a disk has its own" },
	{ "domain_pm", "suspending from inside a guest is not in this version; virsh suspend stops "
		       "its processors" },
	{ "domain_restore", "saved guests are not in this version" },
	{ "domain_revert_to_snapshot", "snapshots are not in this version" },
	{ "domain_save", "saving guests is not in this version; virsh shutdown ends one" },
	{ "domain_screenshot", "guests have no screen in this version; use the serial console" },
	{ "domain_send_process_signal", "processes of guests are not reached in this version" },
	{ "domain_set_block_io_tune", "throttling of disks is not in this version; virsh blkiotune "
				      "limits guests" },
	{ "domain_set_block_threshold", "thresholds of disks are not in this version" },
	{ "domain_set_guest", "guest agents are not asked in this version" },
	{ "domain_set_interface_parameters", "limits of network cards are not in this version" },
	{ "domain_set_iothread", "I/O threads are not in this version: a disk has its own" },
	{ "domain_set_launch_security", "encrypted guest memory is not in this version" },
	{ "domain_set_memory_stats", "a guest's own counts of memory are not in this version" },
	{ "domain_set_perf_events", "counters of the host's processors are not in this version" },
	{ "domain_set_throttle_group",
	  "throttling of disks is not in this version; virsh blkiotune "
	  "limits guests" },
	{ "domain_set_time", "guest agents are not asked in this version" },
	{ "domain_set_user_password", "guest agents are not asked in this version" },
	{ "domain_set_vcpu", "processors are not switched one by one in this version; virsh "
			     "setvcpus --config says how many there are" },
	{ "domain_snapshot", "snapshots are not in this version" },
	{ "domain_start_dirty_rate", "the rate at which memory changes is not in this version" },
	{ "interface", "the host's network cards are not set up in this version" },
	{ "network_port", "ports of networks are not in this version" },
	{ "node_device", "devices of the host are shown, and neither made nor given to guests, in "
			 "this version" },
	{ "node_get_sev_info", "encrypted guest memory is not in this version" },
	{ "node_set_memory", "the host's page sharing is not changed in this version" },
	{ "node_suspend", "the host is not suspended in this version: systemctl suspend" },
	{ "nwfilter", "packet filters are not in this version" },
	{ "qemu_domain_agent", "guest agents are not asked in this version" },
};

const char *absent_text(const char *procedure)
{
	const char *text = NULL;
	size_t longest = 0;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		size_t length = strlen(rows[i].prefix);

		if (length > longest && g_str_has_prefix(procedure, rows[i].prefix)) {
			longest = length;
			text = rows[i].text;
		}
	}
	return text;
}
