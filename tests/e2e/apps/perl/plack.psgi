# SPDX-License-Identifier: Apache-2.0
# A plain PSGI application with Plack::Middleware::Session as its documentation shows it, sessions in memory. The contract of its pages
# stands in tests/e2e/stack_rig.py.
use strict;
use warnings;
use Digest::SHA 'sha256_hex';
use JSON::PP ();
use Plack::Builder;
use Plack::Request;
use Time::HiRes 'sleep';

my $json = JSON::PP->new->canonical->allow_nonref;

sub answer { [200, ['Content-Type' => 'application/json'], [$json->encode($_[0])]] }

sub fields {
    my ($req) = @_;
    my $s = $req->session;
    return { n => ($s->{n} || 0) + 0, id => $req->session_options->{id}, sent_id => $req->cookies->{plack_session}, name => $s->{name},
        replica => $ENV{REPLICA} };
}

sub wait_at_gate {
    my ($req) = @_;
    if (my $path = $req->query_parameters->{gate}) {
        open my $gate, '<', $path or die "$path: $!";
        <$gate>;
    }
    sleep $req->query_parameters->{hold} if $req->query_parameters->{hold};
}

my %pages = (
    'GET /count' => sub {
        my ($req) = @_;
        wait_at_gate($req);
        $req->session->{n}++;
        return answer(fields($req));
    },
    'GET /me' => sub { wait_at_gate($_[0]); answer(fields($_[0])) },
    'POST /login' => sub {
        my ($req) = @_;
        $req->session_options->{change_id} = 1;
        $req->session->{name} = $req->body_parameters->{name};
        return [302, [Location => '/me'], []];
    },
    'POST /logout' => sub { $_[0]->session_options->{expire} = 1; answer({ ok => JSON::PP::true }) },
    'GET /stream' => sub {
        my ($req) = @_;
        $req->session->{n}++;
        return sub {
            my $writer = $_[0]->([200, ['Content-Type' => 'application/json']]);
            $writer->write('{"first":"' . 'x' x 20_000 . '",');
            $writer->write('"rest":"' . 'y' x 20_000 . '"}');
            $writer->close;
        };
    },
    'POST /big' => sub { $_[0]->session->{big} = 'b' x $_[0]->body_parameters->{size}; answer({ ok => JSON::PP::true }) },
    'GET /big' => sub {
        my $big = $_[0]->session->{big} // '';
        return answer({ length => length $big, sha256 => sha256_hex($big) });
    },
);

my $app = sub {
    my $req = Plack::Request->new(shift);
    my $page = $pages{ $req->method . ' ' . $req->path } or return [404, [], []];
    return $page->($req);
};

builder {
    mount '/anonymous' => sub { answer({ replica => $ENV{REPLICA} }) };
    mount '/' => builder {
        enable 'Session';
        $app;
    };
};
