# SPDX-License-Identifier: Apache-2.0
# An ordinary Dancer2 application with its default session engine, Simple. The contract of its pages stands in tests/e2e/stack_rig.py.
package Counter;
use Dancer2;
use Digest::SHA 'sha256_hex';
use Time::HiRes 'sleep';

set session => 'Simple';
set content_type => 'application/json';
set logger => 'Console';
set log => 'warning';

sub sent_id {
    my $cookie = cookies->{'dancer.session'};
    return $cookie ? $cookie->value : undef;
}

sub fields {
    my $session = session;
    return encode_json({ n => ($session->read('n') || 0) + 0, id => $session->id, sent_id => sent_id(),
        name => scalar $session->read('name'), replica => $ENV{REPLICA} });
}

sub wait_at_gate {
    if (my $path = query_parameters->get('gate')) {
        open my $gate, '<', $path or die "$path: $!";
        <$gate>;
    }
    sleep query_parameters->get('hold') if query_parameters->get('hold');
}

get '/count' => sub {
    session;
    wait_at_gate();
    session n => (session('n') || 0) + 1;
    return fields();
};

get '/me' => sub {
    session;
    wait_at_gate();
    return fields();
};

get '/anonymous' => sub { return encode_json({ replica => $ENV{REPLICA} }) };

post '/login' => sub {
    app->change_session_id;
    session name => body_parameters->get('name');
    redirect '/me';
};

post '/logout' => sub {
    app->destroy_session;
    return '{"ok":true}';
};

get '/stream' => sub {
    session n => (session('n') || 0) + 1;
    delayed {
        flush;
        content '{"first":"' . 'x' x 20_000 . '",';
        content '"rest":"' . 'y' x 20_000 . '"}';
        done;
    };
};

post '/big' => sub {
    session big => 'b' x body_parameters->get('size');
    return '{"ok":true}';
};

get '/big' => sub {
    my $big = session('big') // '';
    return encode_json({ length => length $big, sha256 => sha256_hex($big) });
};

__PACKAGE__->to_app;
