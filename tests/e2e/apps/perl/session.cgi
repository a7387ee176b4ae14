#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
# An ordinary CGI script with CGI::Session's default driver: a file for each session, written when the object goes away at the end of the
# script. The contract of its pages stands in tests/e2e/stack_rig.py.
use strict;
use warnings;
use CGI;
use CGI::Session;
use Digest::SHA 'sha256_hex';
use JSON::PP ();
use Time::HiRes 'sleep';

my $cgi = CGI->new;
my $json = JSON::PP->new->canonical;
my $page = $cgi->path_info;

if ($page eq '/anonymous') {
    print $cgi->header('application/json'), $json->encode({ replica => $ENV{REPLICA} });
    exit;
}

my $sent_id = $cgi->cookie('CGISESSID');
my $session = CGI::Session->new(undef, $cgi, { Directory => $ENV{SESSIONS} }) or die CGI::Session->errstr;

sub fields {
    return $json->encode({ n => ($session->param('n') || 0) + 0, id => $session->id, sent_id => $sent_id, name => scalar $session->param('name'),
        replica => $ENV{REPLICA} });
}

if (my $path = $cgi->url_param('gate')) {
    open my $gate, '<', $path or die "$path: $!";
    <$gate>;
}
sleep $cgi->url_param('hold') if $cgi->url_param('hold');

if ($page eq '/count') {
    $session->param(n => ($session->param('n') || 0) + 1);
    print $session->header('application/json'), fields();
}
elsif ($page eq '/me') {
    print $session->header('application/json'), fields();
}
elsif ($page eq '/login') {
    $session->param(name => scalar $cgi->param('name'));
    print $cgi->redirect(-uri => '/me', -status => 302, -cookie => $cgi->cookie(CGISESSID => $session->id));
}
elsif ($page eq '/logout') {
    $session->delete;
    $session->flush;
    print $cgi->header(-type => 'application/json', -cookie => $cgi->cookie(-name => 'CGISESSID', -value => '', -expires => '-1d')), '{"ok":true}';
}
elsif ($page eq '/stream') {
    local $| = 1;
    $session->param(n => ($session->param('n') || 0) + 1);
    print $session->header('application/json'), '{"first":"', 'x' x 20_000, '",';
    print '"rest":"', 'y' x 20_000, '"}';
}
elsif ($page eq '/big' && $cgi->request_method eq 'POST') {
    $session->param(big => 'b' x scalar $cgi->param('size'));
    print $session->header('application/json'), '{"ok":true}';
}
elsif ($page eq '/big') {
    my $big = $session->param('big') // '';
    print $session->header('application/json'), $json->encode({ length => length $big, sha256 => sha256_hex($big) });
}
else {
    print $cgi->header(-status => 404);
}
