# SPDX-License-Identifier: Apache-2.0
package LetheState;

# lethe's adapter for Perl: Dancer2::Session::Simple and Plack::Session::Store keep their sessions in lethe's state API
# (modules/state_api/openapi.yaml) instead of a hash of this process. It is loaded by the environment alone:
# PERL5LIB=/opt/lethe/adapters/perl:$PERL5LIB PERL5OPT="$PERL5OPT -MLetheState". What it costs and cannot do stands in docs/stacks/perl.md.

use strict;
use warnings;
use lib ();

my $ADDRESS = $ENV{LETHE_STATE_API_LISTEN} // '';
my $TIMEOUT = 5;    # seconds that one exchange may take

# Storable builds any object, so nothing is loaded that this adapter has not written. lethe has opened the blob with AES-GCM before.
my $HEADER = "lethe-perl-storable-1\n";

# --- sessions ---

my $last = ['', ''];    # the id and the blob that were read last: what comes back unchanged need not be written

# The data, or undef where there is no such session (any more). Dies when nobody knows: never a session that is not there.
sub fetch {
    my ($id) = @_;
    return undef unless defined $id && length $id && length $id <= 512;
    my ($status, $word, $body) = call('GET', $id);
    return undef if $status == 404 || $status == 410;
    refuse('read', $status, $word, $body) if $status != 200;
    die "lethe: this session was written by another adapter, or another version of it\n" if index($body, $HEADER) != 0;
    $last = [$id, $body];
    return ${ Storable::thaw(substr $body, length $HEADER) };
}

sub store {
    my ($id, $data) = @_;
    my $blob = freeze($data);
    return if $last->[0] eq $id && $last->[1] eq $blob;
    $last = ['', ''];
    my ($status, $word, $body) = call('PUT', $id, '', $blob);
    refuse('write', $status, $word, $body) if $status != 204 && $status != 410;    # 410: deleted meanwhile, the write is dropped
}

sub remove {
    my ($id) = @_;
    $last = ['', ''];
    my ($status, $word, $body) = call('DELETE', $id);
    refuse('delete', $status, $word, $body) if $status != 204;
}

sub move {
    my ($id, $to) = @_;
    disconnect();    # the one call that must not be sent twice goes over a new connection
    my ($status, $word, $body) = call('POST', $id, 'Lethe-To: ' . escape($to) . "\r\n", '', '/rename');
    refuse('rename', $status, $word, $body) if $status != 204;
}

sub refuse {
    my ($what, $status, $word, $body) = @_;
    $body =~ s/\s+\z//;
    die "lethe: cannot $what the session: $status $word: $body\n";
}

# The same data give the same bytes (canonical), so that a change inside a structure is seen.
sub freeze {
    my ($data) = @_;
    local $Storable::canonical = 1;
    my $blob = eval { Storable::nfreeze(\$data) };
    return $HEADER . $blob if defined $blob;
    my $why = $@ =~ s/ at \S+ line.*//sr;
    my ($key) = ref $data eq 'HASH' ? grep { !eval { Storable::nfreeze(\$data->{$_}) } } sort keys %$data : ();
    die sprintf "lethe: %s cannot leave this process: %s\n", defined $key ? "the session's '$key'" : 'the session', $why;
}

# --- one kept connection; out of its place while it is used, so that a signal or a die in between leaves no half answer behind ---

my ($kept, $owner) = (undef, 0);

sub disconnect { $kept = undef }
sub CLONE { $kept = undef }    # a new thread makes its own

sub escape {
    my ($text) = @_;
    utf8::encode($text);
    return $text =~ s/([^A-Za-z0-9_.~-])/sprintf '%%%02X', ord $1/ger;
}

sub call {
    my ($method, $id, $headers, $body, $suffix) = @_;
    say_again();
    return exchange(request($method, '/v1/sessions/' . escape($id) . ($suffix // ''), $headers // '', $body // ''));
}

sub request {
    my ($method, $path, $headers, $body) = @_;
    return "$method $path HTTP/1.1\r\nHost: lethe\r\n${headers}Content-Length: " . length($body) . "\r\n\r\n$body";
}

# (status, X-Lethe-Error, body). Every call but a rename can be repeated: a kept connection that lethe has just closed costs a second try.
sub exchange {
    my ($request) = @_;
    my $socket = $owner == $$ ? $kept : undef;    # after a fork it is the parent's
    $kept = undef;
    undef $socket if $socket && readable($socket, 0);    # an idle connection has nothing to read but its end
    my $reused = $socket;
    my @answer = eval { exchange_on($socket //= dial(), $request) };
    @answer = eval { exchange_on($socket = dial(), $request) } if !@answer && $reused && $@ =~ /^closed/;
    die "lethe: its state API at $ADDRESS does not answer: ", $@ =~ s/ at \S+ line \d+\.?$//mr unless @answer;
    ($kept, $owner) = ($socket, $$) if shift @answer;
    return @answer;
}

sub dial {
    my ($path, $host, $port) = $ADDRESS =~ /^(?:unix:(.+)|\[?([^\[\]]+?)\]?:(\d+))\z/
        or die "write LETHE_STATE_API_LISTEN as unix:/path or 127.0.0.1:port";
    my (undef, $where) = defined $path ? (undef, { family => Socket::AF_UNIX(), addr => Socket::pack_sockaddr_un($path) })
        : Socket::getaddrinfo($host, $port, { socktype => Socket::SOCK_STREAM(), flags => Socket::AI_NUMERICHOST() });
    die "no such address" unless $where;
    socket(my $socket, $where->{family}, Socket::SOCK_STREAM(), 0) or die "$!";
    setsockopt($socket, Socket::SOL_SOCKET(), Socket::SO_SNDTIMEO(), pack 'l!l!', $TIMEOUT, 0) or die "$!";    # also of connect
    connect($socket, $where->{addr}) or die "$!";
    return $socket;
}

sub exchange_on {
    my ($socket, $request) = @_;
    my $deadline = now() + $TIMEOUT;
    while (length $request) {
        my $sent = send($socket, $request, Socket::MSG_NOSIGNAL());
        next if !defined $sent && $!{EINTR};
        die $!{EPIPE} || $!{ECONNRESET} ? 'closed' : "$!" unless defined $sent;
        substr $request, 0, $sent, '';
    }
    my $input = '';
    receive($socket, \$input, $deadline) until $input =~ /\r\n\r\n/;
    my ($head, $body) = ($input =~ /\A(.*?\r\n)\r\n(.*)\z/s);
    my ($status) = $head =~ m{\AHTTP/1\.1 (\d{3})} or die 'that is not lethe';
    my ($length) = $status == 204 ? 0 : $head =~ /^content-length: *(\d+)\r$/mi or die 'that is not lethe';
    receive($socket, \$body, $deadline) while length $body < $length;
    my ($word) = $head =~ /^x-lethe-error: *(.*?)\r$/mi;
    return ($head !~ /^connection: *close\r$/mi, $status, $word // '', $body);
}

sub receive {
    my ($socket, $input, $deadline) = @_;
    my $left = $deadline - now();
    die "no answer in $TIMEOUT s" if $left <= 0;
    return unless readable($socket, $left);
    my $got = sysread $socket, $$input, 65536, length $$input;
    return if !defined $got && $!{EINTR};
    die length $$input ? 'cut short' : 'closed' unless $got;
}

sub readable {
    my ($socket, $seconds) = @_;
    vec(my $bits = '', fileno $socket, 1) = 1;
    return select($bits, undef, undef, $seconds) > 0;
}

sub now { Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC()) }

# --- saying what was hooked ---

my (%said, @unsaid);

# Once for each store: to stderr, and to lethe as soon as it can be reached.
sub say_so {
    my ($store, $status, $detail) = @_;
    return if $said{$store}++;
    print STDERR "lethe: perl: $status $store: $detail\n";
    return if $ADDRESS eq '';
    require Socket, require Time::HiRes;
    push @unsaid, "Lethe-Store: $store\r\nLethe-Status: $status\r\nLethe-Detail: " . ($detail =~ tr/ -~/?/cr) . "\r\n";
    local $@;
    eval { say_again() };    # lethe may start after the application: the next session call says it
}

sub say_again {
    while (@unsaid) {
        exchange(request('POST', '/v1/adapters/perl', $unsaid[0], ''));
        shift @unsaid;
    }
}

# --- the stores ---

sub replace {
    my ($package, %subs) = @_;
    no strict 'refs';
    no warnings qw(redefine prototype);
    *{"${package}::$_"} = $subs{$_} for keys %subs;
}

sub hook_simple {
    my $package = 'Dancer2::Session::Simple';
    my $unknown;
    my %kept = map { $_ => $package->can($_) } qw(create retrieve);
    my $is_dirty = Dancer2::Core::Session->can('is_dirty');
    my $remember = sub { $_[0]{'lethe.was'} = freeze($_[0]->data); $_[0] };
    replace($package,
        _retrieve => sub {
            my (undef, $id) = @_;
            my $data = eval { fetch($id) };
            $unknown = $@;
            return $data // die "Invalid session ID: $id\n";
        },
        # Dancer2 takes all that _retrieve dies of for a session that is not there, and makes a new one.
        retrieve => sub {
            $unknown = '';
            my $session = eval { $kept{retrieve}->(@_) };
            my $error = $@;
            die $unknown || $error unless $session;
            return $remember->($session);
        },
        create => sub { $remember->($kept{create}->(@_)) },
        _flush => sub { store(@_[1, 2]) },
        _destroy => sub { remove($_[1]) },
        _change_id => sub { move(@_[1, 2]) },
        _sessions => sub { die "lethe keeps no list of sessions\n" },
    );
    # Simple hands out the very hash that it keeps, so a change inside a structure stays without a write() that makes the session dirty.
    replace('Dancer2::Core::Session', is_dirty => sub {
        my $self = shift;
        return $is_dirty->($self, @_) if @_ || !defined $self->{'lethe.was'};
        return $is_dirty->($self) || freeze($self->data) ne $self->{'lethe.was'};
    });
    return $package;
}

my %PLACK = (fetch => sub { fetch($_[1]) }, store => sub { store(@_[1, 2]) }, remove => sub { remove($_[1]) });

sub hook_plack {
    replace('Plack::Session::Store', %PLACK);
    return undef;    # its file and cache stores inherit from it: the middleware knows which one is used
}

sub watch_plack {
    my $prepare = Plack::Middleware::Session->can('prepare_app');
    replace('Plack::Middleware::Session', prepare_app => sub {
        my ($self) = @_;
        my @result = $prepare->(@_);
        hook_loaded();
        my $store = $self->store;
        my ($other) = grep { ($store->can($_) || 0) != $PLACK{$_} } sort keys %PLACK;
        $other ? say_other(ref $store, 'Plack::Session::Store', $other) : say_hooked(ref $store);
        return @result;
    });
    return undef;
}

sub watch_dancer2 {
    my $build = Dancer2::Core::App->can('_build_session_engine');
    replace('Dancer2::Core::App', _build_session_engine => sub {
        my $engine = $build->(@_);
        hook_loaded();
        say_other(ref $engine, 'Dancer2::Session::Simple', '_retrieve') unless $engine->isa('Dancer2::Session::Simple');
        return $engine;
    });
    return undef;
}

sub say_hooked { say_so($_[0], 'hooked', "its sessions are kept by lethe at $ADDRESS") }

sub say_other {
    my ($store, $carried, $method) = @_;
    say_so($store, 'failed', $store->isa($carried) ? "it has its own $method, so lethe does not carry its sessions"
        : "it is not $carried, so lethe does not carry its sessions");
}

# file => [what hooks it, the subs that it must have]
my %HOOKS = (
    'Dancer2/Session/Simple.pm' => [\&hook_simple, qw(_retrieve _flush _destroy retrieve create)],
    'Dancer2/Core/App.pm' => [\&watch_dancer2, qw(_build_session_engine)],
    'Plack/Session/Store.pm' => [\&hook_plack, qw(fetch store remove)],
    'Plack/Middleware/Session.pm' => [\&watch_plack, qw(prepare_app)],
);
my (%done, %busy);

# Hooks the package of a file that is loaded. While it is not `finished` its subs may not be there yet.
sub hook {
    my ($file, $finished) = @_;
    my ($install, @needs) = @{ $HOOKS{$file} };
    my $package = $file =~ s/\.pm\z//r =~ s{/}{::}gr;
    my ($lacking) = grep { !$package->can($_) } @needs;
    return if $done{$file} || ($lacking && !$finished);
    $done{$file} = 1;
    if ($ADDRESS eq '') {
        return unless is_store($package);
        return say_so($package, 'failed', 'LETHE_STATE_API_LISTEN is not set; give the application the same value as lethe');
    }
    require Storable;
    return say_so($package, 'failed', "it has no $lacking; sessions stay in this process") if $lacking;
    require Socket, require Time::HiRes;
    my $hooked = $install->();
    say_hooked($hooked) if $hooked;
}

sub is_store { $_[0] =~ m{::Session::(?:Simple|Store)\z} }

sub hook_loaded {
    hook($_) for grep { $INC{$_} && !$busy{$_} && !$done{$_} } sort keys %HOOKS;
}

# In @INC: lets perl load the file from where it is, hooks it, and hands an empty file over.
sub inc {
    my (undef, $file) = @_;
    hook_loaded();
    return if !$HOOKS{$file} || $busy{$file} || $INC{$file};
    {
        local $busy{$file} = 1;
        require $file;
    }
    hook($file, 1);
    open my $empty, '<', \'1;' or die "$!";
    return $empty;
}

# `use lib` puts directories before the hook. What is loaded from there in spite of all is hooked when perl next looks for a file elsewhere.
my $import = \&lib::import;
replace('lib', import => sub {
    my @result = $import->(@_);
    @INC = (\&inc, grep { !(ref eq 'CODE' && $_ == \&inc) } @INC);
    return @result;
});
unshift @INC, \&inc;
INIT { hook_loaded() }

END {
    for my $file (grep { $INC{$_} && !$done{$_} } sort keys %HOOKS) {
        my $package = $file =~ s/\.pm\z//r =~ s{/}{::}gr;
        my $why = "it was loaded from $INC{$file}, which stands before lethe's hook in \@INC; name that directory in PERL5LIB";
        say_so($package, 'failed', $why) if is_store($package);
    }
}

1;
