// Which published validator says how a call is asked. A call is named by its method and the first part of its path.

/** Validators by call: the name that rest-typings exports, and what it looks at. */
export const VALIDATORS = {
	'GET channels.history': ['isChannelsHistoryProps', 'query'],
	'GET channels.roles': ['isChannelsRolesProps', 'query'],
	'GET chat.getDeletedMessages': ['isChatGetDeletedMessagesProps', 'query'],
	'GET chat.getMessage': ['isChatGetMessageProps', 'query'],
	'GET chat.getThreadMessages': ['isChatGetThreadMessagesProps', 'query'],
	'GET chat.syncMessages': ['isChatSyncMessagesProps', 'query'],
	'GET groups.history': ['isGroupsHistoryProps', 'query'],
	'GET groups.info': ['isGroupsInfoProps', 'query'],
	'GET groups.members': ['isGroupsMembersProps', 'query'],
	'GET groups.roles': ['isGroupsRolesProps', 'query'],
	'GET im.history': ['isDmHistoryProps', 'query'],
	'GET im.members': ['isDmMemberProps', 'query'],
	'GET rooms.info': ['isRoomsInfoProps', 'query'],
	'GET subscriptions.get': ['isSubscriptionsGetProps', 'query'],
	'GET subscriptions.getOne': ['isSubscriptionsGetOneProps', 'query'],
	'GET users.info': ['isUsersInfoParamsGetProps', 'query'],
	'POST channels.archive': ['isChannelsArchiveProps', 'body'],
	'POST channels.create': ['isChannelsCreateProps', 'body'],
	'POST channels.join': ['isChannelsJoinProps', 'body'],
	'POST channels.kick': ['isChannelsKickProps', 'body'],
	'POST channels.leave': ['isChannelsLeaveProps', 'body'],
	'POST channels.unarchive': ['isChannelsUnarchiveProps', 'body'],
	'POST chat.delete': ['isChatDeleteProps', 'body'],
	'POST chat.postMessage': ['isChatPostMessageProps', 'body'],
	'POST chat.react': ['isChatReactProps', 'body'],
	'POST chat.sendMessage': ['isChatSendMessageProps', 'body'],
	'POST chat.update': ['isChatUpdateProps', 'body'],
	'POST groups.addLeader': ['isGroupsAddLeaderProps', 'body'],
	'POST groups.addModerator': ['isGroupsAddModeratorProps', 'body'],
	'POST groups.addOwner': ['isGroupsAddOwnerProps', 'body'],
	'POST groups.archive': ['isGroupsArchiveProps', 'body'],
	'POST groups.create': ['isGroupsCreateProps', 'body'],
	'POST groups.invite': ['isGroupsInviteProps', 'body'],
	'POST groups.kick': ['isGroupsKickProps', 'body'],
	'POST groups.leave': ['isGroupsLeaveProps', 'body'],
	'POST groups.removeLeader': ['isGroupsRemoveLeaderProps', 'body'],
	'POST groups.removeModerator': ['isGroupsRemoveModeratorProps', 'body'],
	'POST groups.removeOwner': ['isGroupsRemoveOwnerProps', 'body'],
	'POST groups.unarchive': ['isGroupsUnarchiveProps', 'body'],
	'POST im.create': ['isDmCreateProps', 'body'],
	'POST rooms.banUser': ['isRoomsBanUserProps', 'body'],
	'POST rooms.muteUser': ['isRoomsMuteUnmuteUserProps', 'body'],
	'POST rooms.saveRoomSettings': ['isRoomsSaveRoomSettingsProps', 'body'],
	'POST rooms.unbanUser': ['isRoomsUnbanUserProps', 'body'],
	'POST rooms.unmuteUser': ['isRoomsMuteUnmuteUserProps', 'body'],
	'POST users.create': ['isUserCreateParamsPOST', 'body'],
	'POST users.setActiveStatus': ['isUserSetActiveStatusParamsPOST', 'body'],
	'POST users.update': ['isUsersUpdateParamsPOST', 'body'],
};

/** Calls for which no validator is exported, and why nothing is wrong with that. */
export const UNCHECKED = {
	'GET channels.info': 'nothing is exported for it',
	'GET channels.members': 'nothing is exported for it',
	'GET me': 'it has no parameters',
	'GET permissions.listAll': 'it is asked without parameters',
	'GET rooms.get': 'nothing is exported for it',
	'GET settings': 'it has no parameters',
	'POST channels.addLeader': 'nothing is exported for it',
	'POST channels.addModerator': 'nothing is exported for it',
	'POST channels.addOwner': 'nothing is exported for it',
	'POST channels.invite': 'nothing is exported for it',
	'POST channels.removeLeader': 'nothing is exported for it',
	'POST channels.removeModerator': 'nothing is exported for it',
	'POST channels.removeOwner': 'nothing is exported for it',
	'POST im.leave': 'its validator is exported only since 8.8, and is looked at there',
	'POST login': 'isLoginProps is of another form (`user` as an object), and the server does not hold this call against it',
	'POST rooms.media': 'it is a form',
	'POST rooms.mediaConfirm': 'nothing is exported for it',
	'POST settings': 'nothing is exported for it',
	'POST subscriptions.read': 'nothing is exported for it under one name in all versions',
	'POST users.generatePersonalAccessToken': 'nothing is exported for it',
	'POST users.setAvatar': 'it is a form',
	'POST users.setStatus': 'nothing is exported for it',
};

/** Validators that only some versions export. */
export const LATER = { 'POST im.leave': ['isDmLeaveProps', 'body'] };

/**
 * Calls that older servers do not hold against the validator that is exported: up to 8.0 it does not know `excludeSelf`, and
 * for channels knows `readonly` in place of `readOnly`, while the server takes both (its source: `api/server/v1/channels.ts`).
 */
export const HELD_SINCE = { 'POST channels.create': '8.8', 'POST groups.create': '8.8' };

/** Calls that older versions do not have. */
export const SINCE = { 'POST rooms.banUser': '8.8', 'POST rooms.unbanUser': '8.8' };
