//! Who may do what: Rocket.Chat's permissions with the roles that have them when a server is new.
//!
//! The table is that of `authorization/server/constant/permissions.ts`, of which only what is asked here is kept.

/// Something that takes a permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permission {
    AddUserToAnyChannel,
    AddUserToJoinedRoom,
    ArchiveRoom,
    BanUser,
    BypassRateLimit,
    BypassTimeLimit,
    CleanHistory,
    CreateChannel,
    CreateDirect,
    CreateGroup,
    CreatePersonalTokens,
    CreateUser,
    DeleteChannel,
    DeleteGroup,
    DeleteMessage,
    DeleteOwnMessage,
    DeleteUser,
    EditMessage,
    EditOtherUserActive,
    EditOtherUserAvatar,
    EditOtherUserInfo,
    EditRoom,
    ForceDeleteMessage,
    KickFromAnyChannel,
    LeaveChannel,
    LeaveGroup,
    ManageSettings,
    MentionAll,
    MentionHere,
    MessageImpersonate,
    MuteUser,
    PostReadonly,
    RemoveUser,
    SetLeader,
    SetModerator,
    SetOwner,
    SetReadonly,
    UnarchiveRoom,
    ViewChannel,
    ViewFullOtherUserInfo,
    ViewStatistics,
    ViewSettings,
}

impl Permission {
    /// All of them, by Rocket.Chat's names.
    pub(crate) const NAMED: [(&'static str, Permission); 42] = [
        ("add-user-to-any-c-room", Permission::AddUserToAnyChannel),
        ("add-user-to-joined-room", Permission::AddUserToJoinedRoom),
        ("archive-room", Permission::ArchiveRoom),
        ("ban-user", Permission::BanUser),
        ("api-bypass-rate-limit", Permission::BypassRateLimit),
        ("bypass-time-limit-edit-and-delete", Permission::BypassTimeLimit),
        ("clean-channel-history", Permission::CleanHistory),
        ("create-c", Permission::CreateChannel),
        ("create-d", Permission::CreateDirect),
        ("create-p", Permission::CreateGroup),
        ("create-personal-access-tokens", Permission::CreatePersonalTokens),
        ("create-user", Permission::CreateUser),
        ("delete-c", Permission::DeleteChannel),
        ("delete-p", Permission::DeleteGroup),
        ("delete-message", Permission::DeleteMessage),
        ("delete-own-message", Permission::DeleteOwnMessage),
        ("delete-user", Permission::DeleteUser),
        ("edit-message", Permission::EditMessage),
        ("edit-other-user-active-status", Permission::EditOtherUserActive),
        ("edit-other-user-avatar", Permission::EditOtherUserAvatar),
        ("edit-other-user-info", Permission::EditOtherUserInfo),
        ("edit-room", Permission::EditRoom),
        ("force-delete-message", Permission::ForceDeleteMessage),
        ("kick-user-from-any-c-room", Permission::KickFromAnyChannel),
        ("leave-c", Permission::LeaveChannel),
        ("leave-p", Permission::LeaveGroup),
        ("edit-privileged-setting", Permission::ManageSettings),
        ("mention-all", Permission::MentionAll),
        ("mention-here", Permission::MentionHere),
        ("message-impersonate", Permission::MessageImpersonate),
        ("mute-user", Permission::MuteUser),
        ("post-readonly", Permission::PostReadonly),
        ("remove-user", Permission::RemoveUser),
        ("set-leader", Permission::SetLeader),
        ("set-moderator", Permission::SetModerator),
        ("set-owner", Permission::SetOwner),
        ("set-readonly", Permission::SetReadonly),
        ("unarchive-room", Permission::UnarchiveRoom),
        ("view-c-room", Permission::ViewChannel),
        ("view-full-other-user-info", Permission::ViewFullOtherUserInfo),
        ("view-statistics", Permission::ViewStatistics),
        ("view-privileged-setting", Permission::ViewSettings),
    ];

    /// The roles that have it, of a person and of a person in a room.
    pub(crate) fn roles(self) -> &'static [&'static str] {
        use Permission as P;
        match self {
            P::AddUserToAnyChannel
            | P::CleanHistory
            | P::CreateUser
            | P::DeleteUser
            | P::EditOtherUserActive
            | P::EditOtherUserAvatar
            | P::EditOtherUserInfo
            | P::KickFromAnyChannel
            | P::ManageSettings
            | P::UnarchiveRoom
            | P::ViewFullOtherUserInfo
            | P::ViewStatistics
            | P::ViewSettings => &["admin"],
            P::BypassRateLimit => &["admin", "bot", "app"],
            P::BypassTimeLimit | P::MessageImpersonate => &["bot", "app"],
            P::CreatePersonalTokens => &["admin", "user"],
            P::CreateChannel | P::CreateDirect | P::CreateGroup => {
                &["admin", "user", "federated-external", "bot", "app"]
            }
            P::DeleteOwnMessage => &["admin", "user", "federated-external"],
            P::LeaveChannel | P::LeaveGroup => &["admin", "user", "federated-external", "bot", "anonymous", "app"],
            P::ViewChannel => &["admin", "user", "federated-external", "bot", "app", "anonymous"],
            P::MentionAll | P::MentionHere => &["admin", "owner", "moderator", "user", "federated-external"],
            P::AddUserToJoinedRoom
            | P::BanUser
            | P::DeleteMessage
            | P::EditMessage
            | P::EditRoom
            | P::MuteUser
            | P::PostReadonly
            | P::RemoveUser => &["admin", "owner", "moderator"],
            P::ArchiveRoom
            | P::DeleteChannel
            | P::DeleteGroup
            | P::ForceDeleteMessage
            | P::SetLeader
            | P::SetModerator
            | P::SetOwner
            | P::SetReadonly => &["admin", "owner"],
        }
    }
}
