/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virsh's commands that lodge has not: who types one reads why, instead of that there is none.
 */
#include "cli/command.h"

#include <string.h>

static const struct {
	const char *what; /* is not in this version */
	const char *names;
} absent[] = {
	{ "changing a guest's devices while it runs",
	  "update-memory-device setvcpu guestvcpus blockresize iothreadadd iothreadset "
	  "iothreaddel" },
	{ "connections that last from one command to the next (lodge start --fd-group NAME=N)",
	  "dom-fd-associate" },
	{ "work on disks of guests that run",
	  "blockcommit blockcopy blockjob blockpull domblkthreshold backup-begin backup-dumpxml "
	  "domjobabort" },
	{ "saving and restoring guests",
	  "save restore save-image-define save-image-dumpxml save-image-edit managedsave "
	  "managedsave-remove managedsave-edit managedsave-dumpxml managedsave-define dump" },
	{ "snapshots",
	  "snapshot-create snapshot-create-as snapshot-current snapshot-delete snapshot-dumpxml "
	  "snapshot-edit snapshot-info snapshot-list snapshot-parent snapshot-revert" },
	{ "checkpoints",
	  "checkpoint-create checkpoint-create-as checkpoint-delete checkpoint-dumpxml "
	  "checkpoint-edit checkpoint-info checkpoint-list checkpoint-parent" },
	{ "migration", "migrate migrate-setmaxdowntime migrate-getmaxdowntime migrate-compcache "
		       "migrate-setspeed migrate-getspeed migrate-postcopy domdirtyrate-calc" },
	{ "screens of guests", "screenshot domdisplay vncdisplay" },
	{ "the guest agent",
	  "domfsfreeze domfsthaw domfsinfo domfstrim domhostname domtime guestinfo "
	  "get-user-sshkeys set-user-sshkeys set-user-password guest-agent-timeout "
	  "qemu-agent-command send-process-signal dompmsuspend dompmwakeup" },
	{ "launch security", "domlaunchsecinfo domsetlaunchsecstate nodesevinfo" },
	{ "performance counters of guests", "perf" },
	{ "I/O threads of guests", "iothreadpin" },
	{ "setting up interfaces of the host",
	  "iface-begin iface-bridge iface-commit iface-define iface-destroy iface-edit "
	  "iface-rollback iface-start iface-unbridge iface-undefine" },
	{ "network filters",
	  "nwfilter-define nwfilter-dumpxml nwfilter-edit nwfilter-list nwfilter-undefine "
	  "nwfilter-binding-create nwfilter-binding-delete nwfilter-binding-dumpxml "
	  "nwfilter-binding-list" },
	{ "devices of the host for guests",
	  "nodedev-create nodedev-destroy nodedev-detach "
	  "nodedev-reattach nodedev-reset nodedev-define nodedev-undefine "
	  "nodedev-start nodedev-autostart nodedev-info" },
	{ "ports of networks", "net-port-list net-port-create net-port-dumpxml net-port-delete" },
	{ "changing the host", "nodesuspend" },
	{ "other hypervisors",
	  "domxml-from-native domxml-to-native qemu-attach lxc-enter-namespace" },
	{ "looking for pools", "find-storage-pool-sources-as find-storage-pool-sources" },
};

char *absent_reason(const char *name)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(absent); i++) {
		g_auto(GStrv) names = g_strsplit(absent[i].names, " ", -1);

		if (!g_strv_contains((const char *const *)names, name))
			continue;
		return g_strdup_printf("'%s' is not in this version, which lacks %s", name,
				       absent[i].what);
	}
	return NULL;
}
