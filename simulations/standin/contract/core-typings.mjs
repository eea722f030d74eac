// What rest-typings takes from @rocket.chat/core-typings at run time: a few enumerations, for calls of teams and of the
// call centre, which are not checked here. Their own package cannot be installed by npm; see fetch.mjs.

export const TEAM_TYPE = { PUBLIC: 0, PRIVATE: 1 };
export const TeamType = TEAM_TYPE;
export const ILivechatAgentStatus = { AVAILABLE: 'available', NOT_AVAILABLE: 'not-available' };
export const VoipClientEvents = { UNUSED: 'unused' };
